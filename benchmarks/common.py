"""What the benchmarks share: ratios side by side in one run, and how they are printed.

Machines are noisy and differ, so a figure alone says little: each benchmark runs the thing and
what it is compared with in turn, A B A B …, and prints medians and the ratio. A bar is printed
beside its figure; nothing here fails a build.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))


def alternate(
    a: Callable[[], float], b: Callable[[], float], runs: int, warmup: int = 1
) -> tuple[list[float], list[float]]:
    """Measure both in turn; the first `warmup` rounds do not count."""
    first, second = [], []
    for number in range(warmup + runs):
        x, y = a(), b()
        if number >= warmup:
            first.append(x)
            second.append(y)
    return first, second


def wall(argv: Sequence[str], **options: object) -> float:
    """Seconds that a command takes, from start to end; its output is thrown away."""
    begin = time.perf_counter()
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    took = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stderr[-500:]!r}")
    return took


def ms(values: Sequence[float]) -> str:
    """Median and range in milliseconds."""
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid * 1e3:.1f} ms [{low * 1e3:.1f}–{high * 1e3:.1f}]"


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median and range, as they are."""
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid:.3g}{unit} [{low:.3g}–{high:.3g}]"


def note(text: str) -> None:
    """A figure without a bar."""
    print(f"     {text}", flush=True)


def report(what: str, figure: float, bar: str, met: bool, detail: str = "") -> None:
    """One line: the figure, the bar, whether it is met."""
    mark = "ok  " if met else "MISS"
    print(f"{mark} {what}: {figure:.3g} (bar {bar}){'  ' + detail if detail else ''}", flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def cpu_seconds(*pids: int) -> float:
    """CPU time of these processes together, ended threads included, by their CPU clocks."""
    # clock_getcpuclockid(3) for any process: the complement of its pid, and 2 for "scheduled".
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident_mb(pid: int) -> float:
    """Resident memory of one process, shared pages included, MB."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
