"""Work beside the screen: every worker begins here, so that none of them fails unheard.

What work is known to fail with, it says itself. Anything else is a defect of cockpit: it is said
once, stands among the events, and ends only the work that it happened in.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from textual.app import App
from textual.widget import Widget
from textual.worker import Worker

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


def start(
    host: Widget | App[Any],
    work: Coroutine[Any, Any, None],
    name: str,
    *,
    group: str = "errands",
    exclusive: bool = False,
    failed: Callable[[str], None] | None = None,
) -> Worker[None]:
    """Have `host` do `work`; an exclusive one ends those of its group.

    `failed` is told of a defect, too, so that nothing waits for what will not come.
    """

    async def guarded() -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a worker's last resort: it is told, not hidden
            text = f"{name} failed: {type(error).__name__}: {error} (a defect of cockpit)"
            cast("CockpitApp", host.app).house.defect(text)
            if failed is not None:
                failed(text)

    return host.run_worker(guarded(), name, group, exclusive=exclusive, exit_on_error=False)
