"""What `import trunkline` costs a program: time and memory in a fresh process, best of several."""

import subprocess
import sys

ROUNDS = 7
PROBE = """
import resource, sys, time
peak_kib = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start = peak_kib(), time.perf_counter()
import trunkline
took = time.perf_counter() - start
print(took * 1e3, (peak_kib() - before) / 1024, len(sys.modules))
"""


def main() -> None:
    rounds = [once() for _ in range(ROUNDS)]
    ms, mib, modules = min(rounds)
    print(f"import trunkline: {ms:.1f} ms, {mib:.1f} MiB, {modules:.0f} modules loaded")


def once() -> tuple[float, float, float]:
    done = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    ms, mib, modules = map(float, done.stdout.split())
    return ms, mib, modules
