"""Secret values, found at launch where a profile says; held in memory only, never logged.

`Known` remembers them for as long as the controller lives, to hide them in what jobs write.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from cockpit.errors import UsageError
from cockpit.model.masking import Mask
from cockpit.profiles.types import Config
from cockpit.protocol.records import JobRecord
from cockpit.protocol.secretref import SecretRef
from cockpit.tasks import within
from cockpit.text import clean

COMMAND_TIMEOUT = 60.0
MOST_BYTES = 64 * 1024
"""Of a file that is read to hide what it holds."""


class Known:
    """The values that this machine knows without asking anybody and without running a command.

    Those of a job that was launched or restarted here, and of every job those in the environment
    and in files that the profiles name.
    """

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._files: dict[str, str] = {}
        self._masks: dict[str, Mask] = {}
        self.read(config)

    def read(self, config: Config) -> None:
        """Read the files of these profiles that were not read yet. Never raises."""
        profiles = [cluster.secrets for cluster in config.clusters.values()]
        profiles += [job.secrets for job in config.jobs.values()]
        for refs in profiles:
            for name, ref in refs.items():
                if ref.file is not None and ref.file not in self._files:
                    self._files[ref.file] = _held(name, ref.file)

    def learn(self, job: str, values: Iterable[str]) -> None:
        """Hide these in what `job` writes."""
        self._masks.setdefault(job, Mask()).add(values)

    def mask_of(self, record: JobRecord) -> Mask:
        """What hides a job's secrets; it grows with `learn`."""
        found = [
            self._files.get(ref.file, "")
            if ref.file is not None
            else self._environ.get(ref.env or name, "")
            for name, ref in record.secrets.items()
            if ref.cmd is None
        ]
        self.learn(record.id, found)
        return self._masks[record.id]


async def resolve(
    refs: Mapping[str, SecretRef], given: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Values of all `refs`. `given` (typed on the command line) wins over what a ref says.

    Raises UsageError that names the secret, never its value.
    """
    values = {}
    for name, ref in refs.items():
        if name in given:
            values[name] = given[name]
        elif ref.cmd is not None:
            values[name] = await _from_command(name, ref.cmd)
        elif ref.file is not None:
            values[name] = await asyncio.to_thread(_from_file, name, ref.file)
        else:
            variable = ref.env or name
            if variable not in environ:
                raise UsageError(
                    f"secret {name}: the variable {variable} is not set here",
                    f"export {variable}, or give it with -e {name}=…",
                )
            values[name] = environ[variable]
    return values


async def _from_command(name: str, argv: tuple[str, ...]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise UsageError(f"secret {name}: cannot run {argv[0]!r}: {error.strerror}") from error
    answer = asyncio.ensure_future(process.communicate())
    try:
        out, err = await within(answer, COMMAND_TIMEOUT)
    except asyncio.TimeoutError as error:
        raise UsageError(
            f"secret {name}: {argv[0]!r} gave no answer in {COMMAND_TIMEOUT:.0f} s"
        ) from error
    finally:
        if not answer.done():
            process.kill()
            await asyncio.wait({answer})
    if process.returncode != 0:
        last = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise UsageError(
            f"secret {name}: {argv[0]!r} ended with code {process.returncode}: {clean(last)}"
        )
    return _one_line(name, out)


def _from_file(name: str, file: str) -> str:
    path = Path(os.path.expanduser(file))
    try:
        return _one_line(name, path.read_bytes())
    except OSError as error:
        raise UsageError(f"secret {name}: cannot read {path}: {error.strerror}") from error


def _held(name: str, file: str) -> str:
    """What a file holds, "" where that is not to be had at once."""
    path = Path(os.path.expanduser(file))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            return ""
        return _one_line(name, path.read_bytes())
    except (OSError, UsageError):
        return ""


def _one_line(name: str, value: bytes) -> str:
    try:
        return value.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"secret {name}: its value is not UTF-8 text") from error
