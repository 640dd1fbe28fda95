"""Ranks started as torch's launcher process starts them, whose heartbeat slots are read."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from cockpit.node.rank import slot
from cockpit.protocol import layout
from tests.node.torchrun_nodes import until

TIMEOUT = 150.0


@dataclasses.dataclass
class Rank:
    """One worker process; stdout and stderr are files."""

    process: subprocess.Popen[bytes]
    folder: pathlib.Path
    generation: int
    local_rank: int
    slot_path: pathlib.Path

    def beat(self) -> slot.Beat:
        reader = slot.Reader(str(self.slot_path))
        try:
            beat: slot.Beat = until(reader.read, "a readable slot")
        finally:
            reader.close()
        return beat

    def out(self) -> str:
        return (self.folder / f"{self.local_rank}.out").read_text()

    def err(self) -> str:
        return (self.folder / f"{self.local_rank}.err").read_text()

    def stacks(self) -> str:
        path = self.folder / layout.rank_stacks(self.generation, self.local_rank)
        return path.read_text()

    def until_says(self, text: str) -> None:
        until(lambda: text in self.out() or self.process.poll() is not None, text, TIMEOUT)
        assert text in self.out(), self.err()

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)

    def answer(self) -> int:
        """Let its `input()` return; its exit code."""
        self.process.communicate(b"\n", timeout=TIMEOUT)
        return self.process.returncode


class Ranks:
    """Starts ranks of one attempt; `folder` is the attempt's, the slots lie in shared memory."""

    def __init__(self, folder: pathlib.Path, slots: pathlib.Path, runtime: pathlib.Path) -> None:
        self.folder = folder
        self.slots = slots
        self.runtime = runtime
        self._running: list[Rank] = []

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(
        self,
        *args: str,
        local_rank: int = 0,
        generation: int = 0,
        python: str = sys.executable,
        **environ: str | None,
    ) -> Rank:
        """A value of None takes a variable out of the environment."""
        given = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "LOCAL_RANK": str(local_rank),
            layout.GENERATION_ENV: str(generation),
            layout.SLOTS_ENV: str(self.slots),
            layout.ATTEMPT_DIR_ENV: str(self.folder),
            layout.LAUNCHER_PID_ENV: str(os.getpid()),
            **environ,
        }
        worker = self.runtime / "cockpit" / "node" / "rank" / "worker.py"
        with (
            open(self.folder / f"{local_rank}.out", "wb") as out,
            open(self.folder / f"{local_rank}.err", "wb") as err,
        ):
            process = subprocess.Popen(
                [python, "-u", str(worker), *args],
                cwd=self.folder,
                env={name: value for name, value in given.items() if value is not None},
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )
        path = self.slots / layout.slot(generation, local_rank)
        rank = Rank(process, self.folder, generation, local_rank, path)
        self._running.append(rank)
        return rank

    def run(self, *args: str, **options: Any) -> Rank:
        """A rank that has come to its end; options as of `start`."""
        rank = self.start(*args, **options)
        rank.wait()
        return rank

    def stop(self) -> None:
        for rank in self._running:
            if rank.process.poll() is None:
                rank.process.kill()
                rank.process.wait(TIMEOUT)
            assert rank.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                rank.process.stdin.close()


@contextlib.contextmanager
def ranks_in(folder: pathlib.Path, runtime: pathlib.Path) -> Iterator[Ranks]:
    with tempfile.TemporaryDirectory(dir=layout.SHARED_MEMORY, prefix="cockpit-test-") as slots:
        ranks = Ranks(folder, pathlib.Path(slots), runtime)
        try:
            yield ranks
        finally:
            ranks.stop()
