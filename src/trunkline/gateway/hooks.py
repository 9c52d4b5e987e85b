"""The steward's part in telling hooks what calls used; what it needs is loaded only if there are
any."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from trunkline.clock import SystemClock
from trunkline.config import Config, Webhook
from trunkline.interfaces import HOOK_ENTRY_POINTS
from trunkline.observability.metrics import Gauge
from trunkline.storage.outbox import Outbox

if TYPE_CHECKING:
    from trunkline.client.hooks import Hooks


class Telling:
    """The hooks of the gateway: its webhooks, and what packages offer."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._hooks: Hooks | None = None
        self._webhooks: tuple[Webhook, ...] | None = None

    def prepare(self, config: Config) -> None:
        """Have what is ingested next kept for the hooks of `config`, and for no other webhook.

        Raises:
            RecordError: the store cannot be used.
        """
        if config.webhooks != self._webhooks:
            self._outbox.only("http", [webhook.url for webhook in config.webhooks])
            self._take(config)
            self._webhooks = config.webhooks
        if self._hooks is not None:
            self._hooks.subscribe()

    def _take(self, config: Config) -> None:
        if self._hooks is None:
            if not config.webhooks and not entry_points(group=HOOK_ENTRY_POINTS):
                return
            from trunkline.client.hooks import Hooks

            self._hooks = Hooks(self._outbox, SystemClock())
        from trunkline.client.targets import known_targets

        self._hooks.take(known_targets(config, (), SystemClock()))

    def wake(self) -> None:
        """Say that something was ingested."""
        if self._hooks is not None:
            self._hooks.wake()

    def stop(self) -> None:
        """Tell nobody any more; what waits is told by the next steward."""
        if self._hooks is not None:
            self._hooks.stop()

    def gauges(self) -> list[Gauge]:
        """Return how much is left to tell."""
        counts = self._hooks.counts if self._hooks is not None else {}
        waiting, dead = counts.get("waiting", 0), counts.get("dead", 0)
        return [
            Gauge("hook_events_waiting", "Usage events that hooks have still to take.", waiting),
            Gauge("hook_events_dead", "Usage events that hooks never took; they are kept.", dead),
        ]
