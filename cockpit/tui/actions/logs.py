"""The log, in the Logs and in the Job view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cockpit.errors import UsageError
from cockpit.tui.actions.base import Action, Context, View, Words, on


class LogDo(Protocol):
    """What actions may ask of the log on the screen. All of it returns at once."""

    def sideways(self, steps: int) -> None:
        """Scroll sideways, 0 to the first column."""

    def follow(self) -> None: ...
    def toggle_times(self) -> None: ...
    def toggle_wrap(self) -> None: ...
    def toggle_fold(self) -> None: ...
    def invert(self) -> None:
        """Invert the filter."""

    def next_level(self) -> None: ...
    def next_context(self) -> None: ...
    def open_find(self) -> None: ...
    def find(self, pattern: str) -> None: ...
    def seek(self, step: int) -> None:
        """To the next match, or the one before."""

    def first_error(self) -> None: ...
    def pick_streams(self) -> None: ...
    def choose(self, words: str) -> None:
        """Show the streams that these words name. Raises UsageError."""

    def merged(self) -> None: ...
    def beside(self, step: int) -> None:
        """The log of the next rank, or of the one before."""

    def jump(self, seconds: float) -> None: ...
    def time_menu(self) -> None: ...
    def jump_to(self, text: str) -> None:
        """To a moment in words. Raises UsageError."""

    def mark(self) -> None: ...
    def next_mark(self, step: int) -> None: ...
    def select(self) -> None: ...
    def copy(self) -> None: ...
    def save(self) -> None: ...
    def open_pager(self) -> None: ...


def _with_log(context: Context) -> str | None:
    return None if context.log_pane is not None else "no log is on the screen"


_on_log = on(lambda context: context.log_pane)


def _to_logs(do: Callable[[LogDo, str], None]) -> Callable[[Context, str], None]:
    """On the command line: go to the log first, from wherever it was typed."""

    def run(context: Context, argument: str) -> None:
        if context.shown_job is None:
            raise UsageError("there is no job yet")
        if context.log_pane is None:
            context.show(View.LOGS)
        if context.log_pane is not None:
            do(context.log_pane, argument)

    return run


def _show_streams(context: Context, argument: str) -> None:
    if context.shown_job is None:
        raise UsageError("there is no job yet")
    context.show(View.LOGS)
    if context.log_pane is not None and argument:
        context.log_pane.choose(argument)


def _streams(context: Context) -> Sequence[str]:
    job = context.shown_job
    if job is None:
        return ()
    nodes = [node.name for node in job.nodes]
    ranks = sorted({rank.rank for node in job.nodes for rank in node.ranks})
    return ["all", "rank0+errors", "launcher", "err", "out", *nodes, *(f"r{n}" for n in ranks)]


def _moments(_: Context) -> Sequence[str]:
    return ("1m", "5m", "15m", "1h", "12:00")


_BOTH = frozenset((View.JOB, View.LOGS))
_LOGS = frozenset((View.LOGS,))


def _log(
    name: str,
    title: str,
    keys: tuple[str, ...],
    do: Callable[[LogDo], None],
    *,
    views: frozenset[View] = _LOGS,
    footer: str = "",
    words: Words | None = None,
) -> Action:
    return Action(
        f"log.{name}",
        title,
        keys,
        _on_log(do),
        views=views,
        footer=footer,
        enabled=_with_log,
        words=words,
    )


ACTIONS: tuple[Action, ...] = (
    _log("follow", "Log: follow its end", ("F",), lambda log: log.follow(), footer="follow"),
    _log(
        "find",
        "Log: find text; n and N go on",
        ("f",),
        lambda log: log.open_find(),
        footer="find",
        words=Words(
            ("find",),
            "TEXT",
            _to_logs(lambda log, text: log.find(text) if text else log.open_find()),
        ),
    ),
    _log("next", "Log: next match", ("n",), lambda log: log.seek(1)),
    _log("previous", "Log: match before", ("N",), lambda log: log.seek(-1)),
    _log("invert", "Log: invert the filter", ("exclamation_mark",), lambda log: log.invert()),
    _log(
        "context",
        "Log: lines around matches, 0, 1, 3 or 10",
        ("equals_sign",),
        lambda log: log.next_context(),
    ),
    _log(
        "level",
        "Log: all lines, warnings and errors, errors",
        ("e",),
        lambda log: log.next_level(),
        footer="level",
        views=_BOTH,
    ),
    _log("first_error", "Log: first error", ("0",), lambda log: log.first_error(), views=_BOTH),
    _log(
        "streams",
        "Log: which streams? Ranks, nodes, errors of all",
        ("L",),
        lambda log: log.pick_streams(),
        footer="streams",
        words=Words(("logs",), "[r3 | r8-15 | NODE | err | all]", _show_streams, _streams),
        views=_BOTH,
    ),
    _log("merged", "Log: all streams, merged by time", ("a",), lambda log: log.merged()),
    _log("rank_before", "Log: the rank before", ("comma",), lambda log: log.beside(-1)),
    _log("rank_next", "Log: the next rank", ("full_stop",), lambda log: log.beside(1)),
    _log(
        "time",
        "Log: go to a time",
        ("T",),
        lambda log: log.time_menu(),
        footer="time",
        words=Words(
            ("time",),
            "5m | 12:03 | 2026-08-21 09:30",
            _to_logs(lambda log, text: log.jump_to(text) if text else log.time_menu()),
            _moments,
        ),
    ),
    _log("minute_back", "Log: one minute back", ("left_curly_bracket",), lambda log: log.jump(-60)),
    _log("minute_on", "Log: one minute on", ("right_curly_bracket",), lambda log: log.jump(60)),
    _log("mark", "Log: draw a mark with the time", ("m",), lambda log: log.mark(), footer="mark"),
    _log("next_mark", "Log: next mark", ("apostrophe",), lambda log: log.next_mark(1)),
    _log("previous_mark", "Log: mark before", ("quotation_mark",), lambda log: log.next_mark(-1)),
    _log("select", "Log: select lines from here on", ("v",), lambda log: log.select()),
    _log(
        "copy",
        "Log: copy the line or the selected ones",
        ("y",),
        lambda log: log.copy(),
        footer="copy",
    ),
    _log("save", "Log: save the whole of it to a file", ("ctrl+s",), lambda log: log.save()),
    _log("pager", "Log: read it in $PAGER", ("P",), lambda log: log.open_pager()),
    _log("wrap", "Log: wrap long lines or not", ("w",), lambda log: log.toggle_wrap(), views=_BOTH),
    _log(
        "times",
        "Log: time of day, seconds since, no time stamps",
        ("t",),
        lambda log: log.toggle_times(),
        views=_BOTH,
    ),
    _log(
        "fold",
        "Log: fold equal lines of several ranks or not",
        ("z",),
        lambda log: log.toggle_fold(),
        views=_BOTH,
    ),
    _log("left", "Log: to the left", ("left", "h"), lambda log: log.sideways(-1), views=_BOTH),
    _log("right", "Log: to the right", ("right",), lambda log: log.sideways(1), views=_BOTH),
    _log(
        "start",
        "Log: to the first column",
        ("circumflex_accent",),
        lambda log: log.sideways(0),
        views=_BOTH,
    ),
)
