"""Valkey or Redis, which hands out pools of money and keeps buckets of rate limits.

The only module that imports its driver. Of each pool it has what is left, and nothing that could
not be lost: see `pools`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from trunkline.accounting.leases import ENOUGH_HOLDS, SHARE
from trunkline.errors import ConfigError

try:
    import redis
except ImportError as error:
    raise ConfigError(
        f"Valkey and Redis need their driver ({error}): pip install 'trunkline[redis]'"
    ) from error

_TIMEOUT_S = 0.25
_REST_S = 1.0
_KEEP_MS = 60_000
"""Whoever draws from a pool tells so once a second; what nobody touches is garbage."""

# What is left of a pool counts only on the server, and in the life of that server, in which it was
# put there: one that was started again, or a replica that took over, may have older figures.
# Both ids change then. Source: https://valkey.io/commands/info/ (2026-11-20).
_SCRIPT = f"""
local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
local life = string.match(info, 'run_id:(%w+)') .. string.match(info, 'master_replid:(%w+)')
local what = ARGV[1]
local function left(key)
    local found = redis.call('HMGET', key, 'life', 'left', 'limit')
    if found[1] == life then return tonumber(found[2]), tonumber(found[3]) end
end
local function add(key, nusd)
    redis.call('HINCRBY', key, 'left', string.format('%.0f', nusd))
    redis.call('PEXPIRE', key, {_KEEP_MS})
end
local answer = {{1}}
for place, key in ipairs(KEYS) do
    local at = 3 * place - 1
    local nusd, amount, limit = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local found, under = left(key)
    if what == 'take' then
        -- Filled under a higher limit, as much as that is higher is not for this one.
        local most = found and found - math.max(0, under - limit)
        if not most or most < nusd then
            answer[1] = 0
            nusd = most and math.max(0, most) or -1
        elseif most >= {ENOUGH_HOLDS} * amount then
            nusd = math.max(nusd, math.floor(most / {SHARE}))
        end
        answer[place + 1] = nusd
    elseif what == 'fill' then
        if not found then redis.call('HSET', key, 'life', life, 'left', 0, 'limit', 0) end
        redis.call('HSET', key, 'limit', string.format('%.0f', math.max(under or 0, limit)))
        add(key, nusd)
    elseif what == 'give' and found then
        add(key, nusd)
    elseif what == 'end' then
        redis.call('DEL', key)
    elseif what == 'look' then
        answer[place + 1] = found or 0
    end
end
if what == 'take' then
    for place, key in ipairs(KEYS) do
        -- Where it is too little for all, nobody takes more than is needed.
        if answer[1] == 0 then
            answer[place + 1] = math.min(answer[place + 1], tonumber(ARGV[3 * place - 1]))
        end
        if answer[place + 1] > 0 then add(key, -answer[place + 1]) end
    end
end
return answer
"""
_log = logging.getLogger("trunkline.storage")


class Valkey:
    """One server; what cannot be asked in time is left alone for a second."""

    def __init__(
        self, url: str, script: str = _SCRIPT, without: str = "PostgreSQL grants alone"
    ) -> None:
        """Take the address, as in `redis://:password@host:6379/0`; nothing is opened yet.

        Args:
            script: what runs there.
            without: what becomes of it when the server cannot be used, for the log.
        """
        # Never tried again: what is given twice would be money made of nothing.
        self._client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=None
        )
        self._script = self._client.register_script(script)
        self._without = without
        self._rests_until_s = 0.0
        self._away = False

    @property
    def usable(self) -> bool:
        """Whether it is worth asking."""
        return time.monotonic() >= self._rests_until_s

    def run(self, what: str, keys: Sequence[str], given: Sequence[int]) -> list[int] | None:
        """Run the script; None = nobody knows whether it ran, or will yet.

        Args:
            what: `take`, `fill`, `give`, `end` or `look`.
            given: three numbers for each key: nano-USD, the hold, the limit.
        """
        return self.ask(keys, [what, *given]) if keys else None

    def ask(self, keys: Sequence[str | bytes], given: Sequence[int | str]) -> list[int] | None:
        """Run the script with these `KEYS` and `ARGV`; None = nobody knows whether it ran."""
        if not self.usable:
            return None
        try:
            answer: Any = self._script(keys, given)
        except redis.RedisError as error:
            self._rests_until_s = time.monotonic() + _REST_S
            if not self._away:
                _log.warning("Valkey cannot be used, %s: %s", self._without, error)
            self._away = True
            return None
        if self._away:
            _log.warning("Valkey can be used again")
        self._away = False
        return [int(each) for each in answer]

    def close(self) -> None:
        """Let go of the server; a later use opens it again."""
        self._client.close()
