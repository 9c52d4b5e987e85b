"""CPU per chunk of streams that come slowly, many at once: relayed as they are, and translated.

256 streams of 60 chunks, 20 ms apart; what opening a stream costs is in it, a sixtieth per chunk.
The reference relays what the provider sends, for the translated ones too.
"""

from __future__ import annotations

from bench import upstream
from bench.figures.cpu import ROUNDS, told
from bench.rig import messages
from bench.rig.callers import Load, spend
from bench.rig.processes import Hop
from bench.rig.table import Figure

STREAMS = 256


def figures(subject: Hop, reference: Hop) -> list[Figure]:
    same = ("relayed", subject, messages.chat(subject.port, "bench:paced", stream=True))
    hop = ("reference", reference, messages.chat(reference.port, "bench:paced", stream=True))
    other = ("translated", subject, messages.message(subject.port, "bench:paced"))
    us: dict[str, list[float]] = {"relayed": [], "reference": [], "translated": []}
    errors = dict.fromkeys(us, 0)
    for round_ in range(ROUNDS + 1):
        for name, asked, message in (same, hop, other):
            check = messages.is_translated if name == "translated" else messages.is_streamed
            load = Load(message, check, connections=STREAMS, each=1, spread_s=0.24)
            spent = spend(asked, load)
            errors[name] += told(asked, f"{name} chunks", spent.errors, spent.example)
            if round_:  # the first one opens connections
                us[name].append(spent.us / max(1, spent.done) / upstream.CHUNKS)
    return [
        Figure(
            f"CPU per {name} chunk, {STREAMS} paced streams",
            "us",
            target,
            us[name],
            us["reference"],
            errors=errors[name] + errors["reference"],
        )
        for name, target in (("relayed", 4), ("translated", 6))
    ]
