"""Secret values, found at launch where a profile says; held in memory only, never logged."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from cockpit.errors import UsageError
from cockpit.protocol.records import SecretRef
from cockpit.tasks import within
from cockpit.text import clean

COMMAND_TIMEOUT = 60.0


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


def _one_line(name: str, value: bytes) -> str:
    try:
        return value.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"secret {name}: its value is not UTF-8 text") from error
