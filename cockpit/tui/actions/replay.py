"""Holding the display, and the hands on a recorded session: pause, speed, the next event."""

from __future__ import annotations

from collections.abc import Sequence

from cockpit.errors import UsageError
from cockpit.tui.actions.base import Action, Context, Words, on


def _with_replay(context: Context) -> str | None:
    return None if context.replay is not None else "nothing is being replayed"


_on_replay = on(lambda context: context.replay)


def _pause(context: Context) -> None:
    if context.replay is not None:
        context.replay.pause()
    else:
        context.freeze()


def _begin_again(context: Context) -> None:
    if context.replay is not None:
        context.replay.begin_again()
        context.reopen_log()


def _rate(context: Context, argument: str) -> None:
    replay = context.replay
    if replay is None:
        return
    if not argument:
        replay.faster()
        return
    try:
        replay.rate(float(argument.lstrip("×x")))
    except ValueError:
        raise UsageError(f"{argument!r} is no speed", "a number, such as 10 or 0.5") from None


def _rates(_: Context) -> Sequence[str]:
    return ("1", "10", "100", "1000")


ACTIONS: tuple[Action, ...] = (
    Action(
        "app.freeze",
        "Freeze the display or let it go on; in a replay: pause",
        ("p",),
        _pause,
        words=Words(("pause", "freeze")),
    ),
    Action(
        "replay.slower",
        "Replay: half as fast",
        ("less_than_sign",),
        _on_replay(lambda replay: replay.slower()),
        enabled=_with_replay,
        words=Words(("slower",)),
    ),
    Action(
        "replay.faster",
        "Replay: twice as fast",
        ("greater_than_sign",),
        _on_replay(lambda replay: replay.faster()),
        enabled=_with_replay,
        words=Words(("speed", "faster"), "[N]", _rate, _rates),
    ),
    Action(
        "replay.next",
        "Replay: on to the next event",
        ("ctrl+n",),
        _on_replay(lambda replay: replay.next_event()),
        enabled=_with_replay,
        words=Words(("next",)),
    ),
    Action(
        "replay.again",
        "Replay: from the beginning",
        ("ctrl+a",),
        _begin_again,
        enabled=_with_replay,
        words=Words(("again-replay",)),
    ),
)
