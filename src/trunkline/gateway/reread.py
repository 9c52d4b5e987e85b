"""Read the configuration anew, for the supervisor: the present one on standard input, a good new
one on standard output, what there is to say on standard error."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from trunkline.config import Config, load
from trunkline.config.handover import decode, encode
from trunkline.discovery import entries
from trunkline.errors import ConfigError
from trunkline.gateway.serve import Said
from trunkline.observability.redact import scrub


def reread(said: Said, present: Config) -> tuple[Config, list[str]]:
    """Return the configuration that is to be served from now on, and what to tell about it.

    Raises:
        ConfigError: it cannot be served.
    """
    found = said.fit(load(Path(said.config) if said.config else None, found=entries))
    old, new = present.server, found.server
    kept, wanted = present.storage, found.storage
    fixed = {
        "server.host": new.host != old.host,
        "server.port": new.port != old.port,
        "server.workers": new.workers != old.workers,
        "TRUNKLINE_DATA": found.data_dir != present.data_dir,
        "storage.database_url": wanted.database_url != kept.database_url,
        "storage.redis_url": wanted.redis_url != kept.redis_url,
    }
    server = replace(new, host=old.host, port=old.port, workers=old.workers)
    storage = replace(wanted, database_url=kept.database_url, redis_url=kept.redis_url)
    served = replace(found, server=server, storage=storage, data_dir=present.data_dir)
    if served == present:
        lines = ["the configuration has not changed"]
    else:
        lines = ["the configuration was read anew", *found.warnings]
    changed = [name for name, differs in fixed.items() if differs]
    if changed:
        lines.append(f"restart the gateway for {', '.join(changed)} to take effect")
    return served, lines


def main() -> None:
    """Answer the supervisor: exit code 0 and nothing means that nothing changed."""
    said = msgspec.json.decode(sys.argv[1], type=Said)
    present = decode(sys.stdin.buffer.read())
    try:
        served, lines = reread(said, present)
    except ConfigError as error:
        lines = [f"the configuration stays as it was: {scrub(error)}"]
        served = present
    for text in lines:
        sys.stderr.write(f"trunkline: {text}\n")
    if served != present:
        sys.stdout.buffer.write(encode(served))


if __name__ == "__main__":
    main()
