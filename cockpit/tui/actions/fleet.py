"""The Fleet view and the view of one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cockpit.errors import UsageError
from cockpit.model.types import LinkState
from cockpit.tui.actions.base import Action, Context, View, Words, on
from cockpit.tui.fleet import scope

METRICS = ("util", "memory", "power", "temperature", "rate")
SORTS = ("problems", "name", "metric")


class FleetDo(Protocol):
    """What actions may ask of the Fleet view. Names that make no sense raise UsageError."""

    @property
    def wall(self) -> bool:
        """Whether it shows the heat wall, not the table."""

    def toggle_mode(self) -> None: ...
    def next_gauge(self) -> None: ...
    def set_gauge(self, name: str) -> None: ...
    def next_sort(self) -> None: ...
    def set_sort(self, name: str) -> None: ...
    def toggle_problems(self) -> None: ...
    def sideways(self, columns: int) -> None:
        """Move the cursor of the heat wall to a cell beside."""

    def narrow(self, wanted: scope.Scope) -> None:
        """Show these clusters, and what matches."""

    @property
    def pattern(self) -> str:
        """The filter, "" without one."""

    def invert_filter(self) -> None: ...


class NodeDo(Protocol):
    """What actions may ask of the view of one node."""

    def examine(self) -> None:
        """Have the doctor look at the node."""

    def examining(self) -> bool:
        """Whether the doctor is there right now."""


_on_fleet = on(lambda context: context.fleet)
_on_node = on(lambda context: context.node_view)


def _there(do: Callable[[FleetDo, str], None]) -> Callable[[Context, str], None]:
    """A command that goes to the Fleet view first."""

    def run(context: Context, argument: str) -> None:
        context.show(View.FLEET)
        if context.fleet is not None:
            do(context.fleet, argument)

    return run


def _with_wall(context: Context) -> str | None:
    shown = context.fleet
    return None if shown is not None and shown.wall else "the table has one column"


def _with_filter(context: Context) -> str | None:
    return None if context.fleet is not None and context.fleet.pattern else "no filter is set"


def _can_retry(context: Context) -> str | None:
    nodes = context.marked_nodes or ((context.node,) if context.node is not None else ())
    if not nodes:
        return "no node is selected"
    if all(node.link.state is LinkState.ONLINE for node in nodes):
        return f"{', '.join(node.name for node in nodes[:3])} is online"
    return None


def _can_examine(context: Context) -> str | None:
    if context.node_view is None or context.node is None:
        return "no node is selected"
    return "the doctor looks at it already" if context.node_view.examining() else None


def _clusters(context: Context) -> list[str]:
    return list(dict.fromkeys(node.cluster for node in context.frame.fleet.nodes))


def _narrow(context: Context, argument: str) -> None:
    wanted = scope.parse(argument, _clusters(context))
    context.show(View.FLEET)
    if context.fleet is not None:
        context.fleet.narrow(wanted)


def _toggle_problems(context: Context, argument: str) -> None:
    if argument:
        raise UsageError(":problems takes no argument")
    _there(lambda fleet, _: fleet.toggle_problems())(context, "")


FLEET_WORDS = Words(
    ("fleet",),
    "[@CLUSTER,…] [/FILTER]",
    _narrow,
    lambda c: scope.offers(_clusters(c)),
)
"""`:fleet @lab,@b /down`."""


def _names(context: Context) -> Sequence[str]:
    """Of all nodes; with their cluster where several are called the same."""
    nodes = context.frame.fleet.nodes
    once: dict[str, int] = {}
    for node in nodes:
        once[node.name] = once.get(node.name, 0) + 1
    return [n.name if once[n.name] == 1 else f"{n.cluster}/{n.name}" for n in nodes]


def _open_node(context: Context, argument: str) -> None:
    nodes = context.frame.fleet.nodes
    keys = [f"{n.cluster}/{n.name}" for n in nodes if argument in (n.name, f"{n.cluster}/{n.name}")]
    if not argument and context.node is not None:
        keys = [f"{context.node.cluster}/{context.node.name}"]
    if len(keys) > 1:
        raise UsageError(f"{argument} is in several clusters", f"type {' or '.join(keys)}")
    if not keys:
        begun = [name for name in _names(context) if name.startswith(argument)]
        some = ", ".join(begun[:6]) + (" …" if len(begun) > 6 else "")
        raise UsageError(
            f"there is no node {argument}" if argument else "which node?",
            f"there are: {some}" if begun else "tab completes",
        )
    context.show_node(keys[0])


def _with_some_node(context: Context) -> str | None:
    return None if context.frame.fleet.nodes else "there are no nodes"


_NODES = frozenset((View.FLEET, View.NODE))
_FLEET = frozenset((View.FLEET,))

ACTIONS: tuple[Action, ...] = (
    Action(
        "fleet.mode",
        "Heat wall or table",
        ("v",),
        _on_fleet(lambda fleet: fleet.toggle_mode()),
        views=_FLEET,
        footer="heat/table",
    ),
    Action(
        "fleet.metric",
        "Next metric: util, memory, power, …",
        ("U",),
        _on_fleet(lambda fleet: fleet.next_gauge()),
        views=_FLEET,
        footer="metric",
        words=Words(
            ("metric",),
            "|".join(METRICS),
            _there(lambda fleet, name: fleet.set_gauge(name)),
            lambda _: METRICS,
        ),
    ),
    Action(
        "fleet.sort",
        "Next order: problems first, name, metric",
        ("S",),
        _on_fleet(lambda fleet: fleet.next_sort()),
        views=_FLEET,
        footer="sort",
        words=Words(
            ("sort",),
            "|".join(SORTS),
            _there(lambda fleet, name: fleet.set_sort(name)),
            lambda _: SORTS,
        ),
    ),
    Action(
        "fleet.problems",
        "Only nodes with a problem, or all",
        ("f",),
        _on_fleet(lambda fleet: fleet.toggle_problems()),
        views=_FLEET,
        footer="problems",
        words=Words(("problems",), run=_toggle_problems),
    ),
    Action(
        "fleet.invert",
        "Turn the filter of the nodes around",
        ("exclamation_mark",),
        _on_fleet(lambda fleet: fleet.invert_filter()),
        views=_FLEET,
        enabled=_with_filter,
    ),
    Action(
        "fleet.clusters",
        "Choose clusters…",
        ("at",),
        lambda c: c.open_command_line("fleet @"),
        views=_FLEET,
    ),
    Action(
        "fleet.left",
        "Heat wall: to the left",
        ("left", "h"),
        _on_fleet(lambda fleet: fleet.sideways(-1)),
        views=_FLEET,
        enabled=_with_wall,
    ),
    Action(
        "fleet.right",
        "Heat wall: to the right",
        ("right",),
        _on_fleet(lambda fleet: fleet.sideways(1)),
        views=_FLEET,
        enabled=_with_wall,
    ),
    Action(
        "view.node",
        "Node: one node in full",
        (),
        lambda c: _open_node(c, ""),
        enabled=_with_some_node,
        words=Words(("node",), "NAME", _open_node, _names),
    ),
    Action(
        "node.retry",
        "Try to reach the node again",
        ("r",),
        lambda c: c.house.retry(),
        views=_NODES,
        footer="retry",
        enabled=_can_retry,
    ),
    Action(
        "node.doctor",
        "Have the doctor look at the node",
        ("D",),
        _on_node(lambda view: view.examine()),
        views=frozenset((View.NODE,)),
        footer="doctor",
        enabled=_can_examine,
    ),
)
