"""Run every measurement in this folder, or those named: `python -m bench [NAME ...]`."""

import importlib
import pkgutil
import signal
import sys

import bench


def main(names: list[str]) -> int:
    known = sorted(
        m.name
        for m in pkgutil.iter_modules(bench.__path__)
        if not m.ispkg and m.name not in {"__main__", "relay", "upstream"}
    )
    unknown = sorted({name for name in names if not name.startswith("-")} - set(known))
    if unknown:
        print(f"bench: no such measurement: {', '.join(unknown)} (there are: {', '.join(known)})")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started has to be ended
    for name in [n for n in names if not n.startswith("-")] or known:
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
