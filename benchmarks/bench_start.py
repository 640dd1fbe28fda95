"""Start-up: `cockpit --help` against a bare Python, and the first line of a job against torchrun.

python benchmarks/bench_start.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import REPO, alternate, ms, report, wall

HELLO = "import os\nprint('first line', os.environ['RANK'], flush=True)\n"


def help_text() -> None:
    environ = {**os.environ, "PYTHONPATH": str(REPO)}
    cockpit = Path(sys.executable).with_name("cockpit")
    argv = [str(cockpit)] if cockpit.exists() else [sys.executable, "-m", "cockpit"]
    ours, bare = alternate(
        lambda: wall([*argv, "--help"], env=environ),
        lambda: wall([sys.executable, "-c", "pass"]),
        15,
    )
    limit = 3 * statistics.median(bare) + 0.060
    took = statistics.median(ours)
    report(
        "cockpit --help / (3 × python -c pass + 60 ms)",
        took / limit,
        "≤ 1",
        took <= limit,
        f"{ms(ours)} against {ms(bare)}",
    )


def _until_first_line(argv: list[str], cwd: Path, environ: dict[str, str]) -> float:
    begin = time.perf_counter()
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if b"first line" in line:
                return time.perf_counter() - begin
        raise RuntimeError(f"{argv} printed no line")
    finally:
        process.communicate()


def first_line(runs: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "hello.py").write_text(HELLO)
        environ = {
            **os.environ,
            "PYTHONPATH": str(REPO),
            "HOME": folder,
            "COCKPIT_CONTROLLER_DIR": f"{folder}/controller",
        }
        plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1"]
        ours, bare = alternate(
            lambda: _until_first_line(
                [sys.executable, "-m", "cockpit", "run", "hello.py"], home, environ
            ),
            lambda: _until_first_line([*torchrun, "hello.py"], home, plain),
            runs,
        )
    more = statistics.median(ours) - statistics.median(bare)
    report(
        "first line of `cockpit run`, seconds more than torchrun",
        more,
        "≤ 1.0",
        more <= 1.0,
        f"{ms(ours)} against {ms(bare)}",
    )


if __name__ == "__main__":
    help_text()
    first_line()
