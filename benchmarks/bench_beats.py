"""What a beat costs: the call itself, on an optimizer's step, and before the user's code runs.

python benchmarks/bench_beats.py

All in CPU time, which is what one of these costs wherever nothing is waited for, and does not count
what else the machine does. Calls: the best of many loops, less the best empty loop. Overhead:
SGD.step of one small parameter with and without the hook, in turn. Start: an instrumented
`python worker.py script` against `python script`, for one that does nothing and one that imports
torch.
"""

from __future__ import annotations

import itertools
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import REPO, alternate, ms, note, report, wall

from cockpit.node.rank import slot, torchhooks
from cockpit.protocol import layout

CALLS = 20_000
ROUNDS = 25
STARTS = 9
WORKER = REPO / "cockpit" / "node" / "rank" / "worker.py"


def loop(call: Callable[[], object], calls: int = CALLS) -> float:
    """Seconds a call, loop included."""
    begin = time.thread_time()
    for _ in range(calls):
        call()
    return (time.thread_time() - begin) / calls


def spent(argv: Sequence[str], environ: dict[str, str]) -> float:
    """CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall(argv, env={**os.environ, "OMP_NUM_THREADS": "1", **environ})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def best(call: Callable[[], object]) -> float:
    """Microseconds a call, without the loop."""
    with_call, empty = alternate(lambda: loop(call), lambda: loop(lambda: None), ROUNDS)
    return (min(with_call) - min(empty)) * 1e6


def calls(folder: Path) -> None:
    beating = slot.Slot(str(folder / "calls"), 0)
    steps, optimizer = torchhooks.Steps(beating), object()
    step = best(lambda: steps.optimizer_stepped(optimizer, (), {}))
    report("one beat of the optimizer hook, µs", step, "≤ 1", step <= 1)
    beat = best(lambda: beating.heartbeat(step=7))
    report("one cockpit.heartbeat(step=…), µs", beat, "≤ 1", beat <= 1)
    two = best(lambda: beating.heartbeat(step=7, loss=0.5, tokens=4096))
    report("with two metrics, µs", two, "≤ 2", two <= 2)
    reader = slot.Reader(str(folder / "calls"))
    note(f"reading one slot: {best(reader.read):.1f} µs")
    reader.close()


def overhead(folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    register = sys.modules["torch.optim.optimizer"].register_optimizer_step_post_hook
    steps = torchhooks.Steps(slot.Slot(str(folder / "overhead"), 0))
    parameter = torch.nn.Parameter(torch.ones(10))
    parameter.grad = torch.ones(10)
    optimizer = torch.optim.SGD([parameter], lr=1e-9)

    def hooked() -> float:
        handle = register(steps.optimizer_stepped)
        try:
            return loop(optimizer.step, CALLS // 10)
        finally:
            handle.remove()

    ours, plain = alternate(hooked, lambda: loop(optimizer.step, CALLS // 10), 8 * ROUNDS)
    added = statistics.median([a / b for a, b in zip(ours, plain, strict=True)]) - 1
    detail = f"{min(ours) * 1e6:.2f} µs against {min(plain) * 1e6:.2f} µs"
    report("overhead on SGD.step", 100 * added, "≤ 10 %", added <= 0.1, detail)


def start(folder: Path) -> None:
    for what, text in (("nothing", ""), ("torch", "import torch\n")):
        script = folder / f"imports_{what}.py"
        script.write_text(text)
        generations = itertools.count()
        environ = {
            layout.SLOTS_ENV: str(folder),
            layout.ATTEMPT_DIR_ENV: str(folder),
            "LOCAL_RANK": str(len(what)),
        }

        def ours() -> float:
            number = {layout.GENERATION_ENV: str(next(generations))}  # noqa: B023
            return spent([sys.executable, str(WORKER), str(script)], environ | number)  # noqa: B023

        def plain() -> float:
            return spent([sys.executable, str(script)], {})  # noqa: B023

        with_worker, without = alternate(ours, plain, STARTS)
        detail = f"{ms(with_worker)} against {ms(without)}"
        if what == "nothing":
            added = (min(with_worker) - min(without)) * 1e3
            report(
                "the worker before a script's first line, ms", added, "≤ 50", added <= 50, detail
            )
        else:
            # Torch imports much of what the worker needs itself, so this can only be less; but
            # its own import varies by more than that.
            note(f"the same where the script imports {what}: {detail}")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=layout.SHARED_MEMORY) as folder:
        calls(Path(folder))
        overhead(Path(folder))
        start(Path(folder))


if __name__ == "__main__":
    main()
