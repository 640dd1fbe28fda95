"""One node as a cell of the heat wall: name, a bar per GPU, a figure, the shape of its condition.

Pure but for a cache: a cell is drawn anew only when its node or the way of drawing changed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from cockpit.model.types import Node
from cockpit.tui.draw.spans import Span, fit
from cockpit.tui.fleet.condition import Condition, NodeItem
from cockpit.tui.fleet.gauges import FIGURE, Gauge, figure, values
from cockpit.tui.widgets.bars import UNKNOWN, heat, level, mean

MOST_BARS = 16
"""GPUs that have a bar each; of more, neighbours share one."""
FEWEST_BARS = 4
SIMULATED = "s"
"""In place of the shape of a node whose figures are made up."""
SHORT_NAME, LONG_NAME = 4, 24
SHORT_PLACE = 9
"""Terminal cells of a name with its cluster's at least."""
SHORT_CLUSTER = 3
"""Of them, those of the cluster: its two ends and the sign that something was cut."""
AROUND = FIGURE + 5
"""Terminal cells of a cell that are neither name nor bars."""

_STEPS = 100


class _Bars(dict[int, tuple[str, str]]):
    """Character and tone of every percent; what is beyond the scale is drawn as its end."""

    def __missing__(self, step: int) -> tuple[str, str]:
        return self[0 if step < 0 else _STEPS]


_BARS = _Bars({step: (level(step / _STEPS), heat(step / _STEPS)) for step in range(_STEPS + 1)})


def room(items: Sequence[NodeItem]) -> tuple[int, int]:
    """How many terminal cells these nodes need at least, and how many they would like."""
    bars = bars_of(items[0].slots) if items else FEWEST_BARS
    name = min(max((cell_len(item.called) for item in items), default=0), LONG_NAME)
    name = max(name, SHORT_NAME)
    least = SHORT_PLACE if items and items[0].several else SHORT_NAME + 1
    return AROUND + bars + min(name, least), AROUND + bars + name


def bars_of(slots: int) -> int:
    """Bars for so many GPUs."""
    return min(max(slots, FEWEST_BARS), MOST_BARS)


def shared(shown: Sequence[float | None], width: int) -> list[float | None]:
    """At most `width` values; of more, neighbours share a mean."""
    share = max(-(-len(shown) // width), 1)
    return [mean(shown[at : at + share]) for at in range(0, len(shown), share)]


def short_name(name: str, width: int) -> str:
    """In exactly `width` terminal cells; of a long name the end is kept, it tells nodes apart."""
    size = cell_len(name)
    if size <= width:
        return name + " " * (width - size)
    if name.isascii() and width > 1:
        return "…" + name[1 - width :]
    return "".join(span.text for span in fit((Span(name),), width))


def short_place(cluster: str, name: str, width: int) -> str:
    """ "cluster/name" in exactly `width` terminal cells; what is too long loses its middle.

    The name gives way last, and its end never: it tells nodes of one cluster apart.
    """
    whole = f"{cluster}/{name}"
    if cell_len(whole) <= width:
        return short_name(whole, width)
    room = width - 1
    first = min(cell_len(cluster), max(room - cell_len(name), min(SHORT_CLUSTER, room // 2)))
    return f"{_without_middle(cluster, first)}/{short_name(name, room - first)}"


def _without_middle(text: str, width: int) -> str:
    """In exactly `width` terminal cells, with the beginning and, the longer part, the end."""
    if cell_len(text) <= width or width < 1 or not text.isascii():
        return short_name(text, width)
    tail = width // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def called(item: NodeItem, width: int) -> str:
    """The node's name in exactly `width` terminal cells."""
    node = item.node
    if item.several:
        return short_place(node.cluster, node.name, width)
    return short_name(node.name, width)


def short_age(seconds: int) -> str:
    """The largest unit only: "9s", "3m", "6h", "12d"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


class _Kept(NamedTuple):
    node: Node
    state: tuple[object, ...]
    spans: tuple[Span, ...]


class CellPainter:
    """Draws nodes for one gauge."""

    def __init__(self) -> None:
        self.gauge = Gauge.UTIL
        self._kept: dict[str, _Kept] = {}

    def draw(self, item: NodeItem, width: int) -> tuple[Span, ...]:
        """The node in exactly `width` terminal cells; the first span is a space and its name."""
        age = (item.age if item.age is not None else item.away) if item.stale else 0
        state = (age, item.condition, width, item.slots, self.gauge, item.paces, item.several)
        kept = self._kept.get(item.key)
        if kept is not None and kept.node is item.node and kept.state == state:
            return kept.spans
        spans = paint(item, width, self.gauge)
        self._kept[item.key] = _Kept(item.node, state, spans)
        return spans

    def forget(self, known: set[str]) -> None:
        """Drop what is kept of nodes that are gone."""
        for key in self._kept.keys() - known:
            del self._kept[key]


def paint(item: NodeItem, width: int, gauge: Gauge) -> tuple[Span, ...]:
    """Without the cache."""
    condition = item.condition
    bars = bars_of(item.slots)
    name = called(item, max(width - bars - AROUND, 1))
    spans = [_span(f" {name} ", "stale" if item.stale else "")]
    shown = values(gauge, item)
    average = mean(shown)
    if condition is Condition.UNREACHABLE or condition is Condition.RECONNECTING:
        count = min(len(shown) or item.slots or 1, bars)
        spans.append(_span((condition.glyph * count).ljust(bars), condition.tone))
    elif item.node.gpus or shown:
        _bars(spans, item, shown, bars)
    else:
        spans.append(_span(_nothing(item, bars), "dim"))
    _end(spans, item, gauge, average)
    return tuple(spans)


@functools.lru_cache(maxsize=1 << 14)
def _span(text: str, tone: str) -> Span:
    """Equal spans are one object: they are made by the thousand, and there are few of them."""
    return Span(text, tone)


def _nothing(item: NodeItem, width: int) -> str:
    """What stands in place of bars, in exactly `width` terminal cells: whole words or none."""
    if item.age is None:
        return (UNKNOWN * (item.slots or FEWEST_BARS))[:width].ljust(width)
    long, short = ("no figures", "--") if item.node.gpu_error else ("no gpu", "none")
    return (long if len(long) <= width else short).ljust(width)


def _bars(spans: list[Span], item: NodeItem, shown: list[float | None], width: int) -> None:
    """A bar per GPU, those of one tone beside each other in one span."""
    sick = None
    if len(shown) > width:
        shown = shared(shown, width)
    else:
        sick = [gpu.state != "ok" for gpu in item.node.gpus]
        sick = sick if True in sick else None
    stale = item.stale
    text, tone = "", ""
    for index, value in enumerate(shown):
        if sick and index < len(sick) and sick[index]:
            bar, its_tone = "✖", "bad"
        elif value is None:
            bar, its_tone = UNKNOWN, "stale"
        else:
            bar, its_tone = _BARS[int(value * _STEPS)]
            if stale:
                its_tone = "stale"
        if its_tone == tone:
            text += bar
        else:
            if text:
                spans.append(_span(text, tone))
            text, tone = bar, its_tone
    spans.append(_span(text.ljust(width - len(shown) + len(text)), tone))


def _end(spans: list[Span], item: NodeItem, gauge: Gauge, average: float | None) -> None:
    """The figure, or how old it is, and the shape of the condition."""
    condition = item.condition
    if item.stale:
        age = item.age if item.age is not None else item.away
        text, tone = short_age(age).rjust(FIGURE + 1), "stale"
    else:
        text = figure(gauge, item, average).rjust(FIGURE + 1)
        tone = "stale" if average is None else heat(average)
    if condition is Condition.OK and not item.node.simulated:
        # Nothing to be told by a colour of its own: one span less for nearly all cells.
        text += f"{condition.glyph} "
        if spans[-1].tone == tone:
            text = spans.pop().text + text
        spans.append(_span(text, tone))
        return
    spans.append(_span(text, tone))
    made_up = item.node.simulated and condition is Condition.OK
    spans.append(_span(f"{SIMULATED if made_up else condition.glyph} ", condition.tone))
