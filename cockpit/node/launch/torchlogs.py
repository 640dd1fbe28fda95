# ruff: noqa: SLF001 - torch has no public way to any of this
"""Where torch writes what its ranks say: one file per generation, local rank and stream.

Takes the place of torch's DefaultLogsSpecs, which names folders by a restart count and deletes
the folder of that name first. A generation's number is never used twice, so nothing is ever
truncated. The class is made at run time, since torch cannot be imported before.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

from cockpit.node.launch.hooks import Guard
from cockpit.node.launch.recorder import Recorder
from cockpit.protocol import layout


def install(run: Any, recorder: Recorder, guard: Guard) -> None:
    """Have torchrun (the module `run`) take our log folders unless it is told to take others'.

    If that cannot be done, torch's own go below --log-dir.
    """
    original = getattr(run, "_get_logs_specs_class", None)
    if original is None:
        guard.missing("torch.distributed.run._get_logs_specs_class")
        return
    with guard("logs"):
        # A program made from torchrun may have a copy of this module.
        ours = make(recorder, guard, sys.modules[run.LogsSpecs.__module__])
        run._get_logs_specs_class = lambda name: original(name) if name else ours


def make(recorder: Recorder, guard: Guard, api: Any) -> type[Any]:
    """A LogsSpecs that follows the generations of `recorder`.

    `api`: torch.distributed.elastic.multiprocessing.api.
    """

    class RankLogs(api.LogsSpecs):  # type: ignore[misc]  # torch is not typed here
        @property
        def root_log_dir(self) -> str:
            return os.path.join(recorder.attempt_dir, layout.LOGS)

        def reify(self, envs: dict[int, dict[str, str]]) -> Any:
            with guard("log files"):
                return self._files(envs)
            theirs = api.DefaultLogsSpecs(self._root_log_dir, self._redirects, self._tee)
            return theirs.reify(envs)

        def _files(self, envs: dict[int, dict[str, str]]) -> Any:
            generation = recorder.generation
            files = RankFiles(recorder.attempt_dir, generation)
            os.makedirs(os.path.join(recorder.attempt_dir, layout.ERRORS), exist_ok=True)
            os.makedirs(files.folder, exist_ok=True)
            for local_rank, environ in envs.items():
                environ["TORCHELASTIC_ERROR_FILE"] = files.error(local_rank)
                environ[layout.GENERATION_ENV] = str(generation)
            outs = {local_rank: files.log(local_rank, "out") for local_rank in envs}
            errs = {local_rank: files.log(local_rank, "err") for local_rank in envs}
            tee = api.to_map(self._tee, len(envs))
            given = {
                "stdouts": outs,
                "stderrs": errs,
                "tee_stdouts": {n: outs[n] for n in envs if tee[n] & api.Std.OUT},
                "tee_stderrs": {n: errs[n] for n in envs if tee[n] & api.Std.ERR},
                "error_files": {local_rank: files.error(local_rank) for local_rank in envs},
                "filtered_stdout": os.path.join(files.folder, "filtered.out"),
                "filtered_stderr": os.path.join(files.folder, "filtered.err"),
            }
            known = {field.name for field in dataclasses.fields(api.LogsDest)}
            return api.LogsDest(**{name: given[name] for name in known & given.keys()})

    return RankLogs


class RankFiles:
    """Absolute paths of one generation's files."""

    def __init__(self, attempt_dir: str, generation: int) -> None:
        self._attempt_dir = attempt_dir
        self._generation = generation

    @property
    def folder(self) -> str:
        return os.path.dirname(self.log(0, "out"))

    def log(self, local_rank: int, stream: str) -> str:
        return os.path.join(
            self._attempt_dir, layout.rank_log(self._generation, local_rank, stream)
        )

    def error(self, local_rank: int) -> str:
        return os.path.join(self._attempt_dir, layout.rank_error(self._generation, local_rank))
