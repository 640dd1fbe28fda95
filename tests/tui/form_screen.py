"""Run on a pseudo-terminal: the screen with a launch pad; tells at its end what was saved."""

from __future__ import annotations

import asyncio

from launch_world import FakePad, config
from tui_world import FakeSource, healthy

from cockpit.tui import run_async


async def main() -> None:
    source = FakeSource(healthy())
    source.absent = ""
    source.config = config()
    pad = source.launchpad = FakePad(source)
    await run_async(source)
    for draft, name in pad.saved:
        print(f"saved <{name}> nodes <{draft.nodes}> on <{draft.on}>")


if __name__ == "__main__":
    asyncio.run(main())
