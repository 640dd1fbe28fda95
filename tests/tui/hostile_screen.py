"""Run on a pseudo-terminal by the terminal tests: the screen on a world full of hostile text."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
from tui_world import (
    AWAY,
    BOOM,
    FakeLine,
    FakeShells,
    FakeSource,
    failed_job,
    healthy,
    node,
    origin,
)

from cockpit.errors import CockpitError, LinkError
from cockpit.tui import run_async

EVIL = (
    "\x1b]52;c;PAYLOAD52==\x07\x1b]0;PAYLOADTITLE\x07\x1b[31mPAYLOADRED\x00"
    "\x9b2JPAYLOADC1\x1bPPAYLOADDCS\x1b\\\x07[rank0] [/data/x]"
)
LINES = (
    *(FakeLine(data=f"{n} {EVIL}".encode()) for n in range(60)),
    FakeLine(origin(0, EVIL), data=b"last line"),
)


async def main() -> int:
    replace = msgspec.structs.replace
    cause = replace(BOOM, message=EVIL, node=EVIL)
    job = replace(failed_job(), name=EVIL, cause=cause, created_by=EVIL, command=(EVIL,))
    away = replace(node("x", age=None), name=EVIL, link=replace(AWAY, why=EVIL, hint=EVIL))
    fleet = replace(healthy(), nodes=(away, node("gpu01")), jobs=(job, *healthy().jobs))
    source = FakeSource(fleet)
    source.absent = ""
    if failure := os.environ.get("SHELL_FAILS"):
        source.shells = FakeShells({"link": LinkError, "defect": RuntimeError}[failure](EVIL))
    for each in fleet.jobs:
        source.write(each.id, *LINES)
    try:
        await run_async(source, theme=os.environ.get("SCREEN_THEME") or None)
    except CockpitError as error:
        sys.stderr.write(f"{error.message} ({error.hint})\n")
        return int(error.exit_code)
    finally:
        assert source.closed
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
