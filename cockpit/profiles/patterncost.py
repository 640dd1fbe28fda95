"""How long a search for a regular expression may take: an estimate from above, by its structure.

Called by `patterns`. Reads what `re`'s own parser makes of a pattern, which is no public interface:
where a Python keeps it elsewhere, this module cannot be imported.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    from re import _compiler, _parser  # type: ignore[attr-defined]
else:
    import sre_compile as _compiler
    import sre_parse as _parser

_SAMPLES = [*map(chr, range(0x180)), "\u0663", "\u2003", "\u8a9e"]
"""Characters by which sets are compared: the first alphabets, a digit, a space, a letter."""
_ANYTHING = (_parser.ANY, None)
_BEGINNINGS = (
    (_parser.AT, _parser.AT_BEGINNING),
    (_parser.AT, _parser.AT_BEGINNING_STRING),
)

Node = tuple[Any, Any]
"""What `re` parses a pattern into: an operator and its arguments."""


class Cost(NamedTuple):
    """What a pattern may cost."""

    nested: bool
    """A repeat without a limit stands around something that varies, which is exponential."""
    endless: int
    """Repeats without a limit."""
    steps: float
    """Steps of a search that fails, at worst."""


def measure(pattern: str, line: int) -> Cost:
    """`pattern` is known to be an expression; `line`: characters that are searched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = list(_flat(_parser.parse(pattern)))
    count = _Count(line)
    ways = count.ways(nodes, [])
    starts = 1.0 if nodes and nodes[0] in _BEGINNINGS else line / max(_literals(nodes), 1)
    # The places where a search may begin and where endless repeats end come in that order.
    orders = math.factorial(min(count.free + 1, 20))
    steps = math.inf if count.nested else ways * count.scan * starts / orders
    return Cost(count.nested, count.endless, steps)


class _Count:
    """Counts in how many ways a search may come to the end of a pattern and fail there."""

    def __init__(self, line: int) -> None:
        self._line = line
        self.nested = False
        self.endless = 0
        """Repeats without a limit."""
        self.free = 0
        """Those of them that may end at any place."""
        self.scan = 1.0
        """Steps along the longest repeat whose end is no choice."""

    def ways(self, nodes: list[Node], after: list[Node]) -> float:
        """Upper bound for `nodes` with `after` behind them, both flat."""
        product = 1.0
        for at, node in enumerate(nodes):
            rest = nodes[at + 1 :] + after
            if _is_repeat(node):
                low, high, body = node[1]
                product *= self._repeat(low, high, body, rest)
            elif node[0] in (_parser.ASSERT, _parser.ASSERT_NOT):
                product *= self.ways(list(_flat(node[1][1])), [_ANYTHING])
            elif _choices(node):
                product *= sum(self.ways(list(_flat(one)), rest) for one in _choices(node))
        return product

    def _repeat(self, low: int, high: int, body: Any, rest: list[Node]) -> float:
        inner = list(_flat(body))
        endless = high == _parser.MAXREPEAT
        self.endless += endless
        if _varies(inner):
            self.nested = self.nested or endless
            once = high == 1
            least, most = min(low, self._line), min(high, self._line)
            each = self.ways(inner, rest if once else [_ANYTHING])
            return sum(_power(each, count) for count in range(least, most + 1))
        most = self._line // max(body.getwidth()[0], 1)
        ways = float(max(min(high, most) - low + 1, 1))
        following = _first(rest)
        if following is None or ways == 1:
            return 1.0  # what follows cannot fail
        if len(inner) == 1 and following.isdisjoint(_characters(inner[0])):
            self.scan = max(self.scan, ways)
            return 1.0
        self.free += endless
        return max(min(ways, self._line / max(_literals(rest), 1)), 1.0)


def _flat(nodes: Any) -> Iterator[Node]:
    """Groups opened."""
    for node in nodes:
        if node[0] is _parser.SUBPATTERN:
            yield from _flat(node[1][3])
        elif str(node[0]) == "ATOMIC_GROUP":
            yield from _flat(node[1])
        else:
            yield node


def _is_repeat(node: Node) -> bool:
    return str(node[0]) in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def _choices(node: Node) -> list[Any]:
    """The alternatives, [] where there are none."""
    if node[0] is _parser.BRANCH:
        return list(node[1][1])
    if node[0] is _parser.GROUPREF_EXISTS:
        return [node[1][1], node[1][2] or []]
    return []


def _varies(nodes: list[Node]) -> bool:
    """Whether the same text may be matched in several ways, as far as can be told simply."""
    for node in nodes:
        if _choices(node):
            return True
        if _is_repeat(node) and (node[1][0] != node[1][1] or _varies(list(_flat(node[1][2])))):
            return True
    return False


def _first(nodes: list[Node]) -> frozenset[str] | None:
    """The characters that may come first; None where nothing has to come."""
    found: frozenset[str] = frozenset()
    for node in nodes:
        if _is_repeat(node):
            first = _first(list(_flat(node[1][2])))
            found |= first or frozenset()
            if node[1][0] == 0 or first is None:
                continue
            return found
        if _choices(node):
            firsts = [_first(list(_flat(one))) for one in _choices(node)]
            for one in firsts:
                found |= one or frozenset()
            if None in firsts:
                continue
            return found
        return found | _characters(node)
    return None


def _characters(node: Node) -> frozenset[str]:
    """The characters that a node may begin with; all of them where that is not known."""
    if node[0] not in (_parser.LITERAL, _parser.NOT_LITERAL, _parser.IN, _parser.ANY):
        return frozenset(_SAMPLES)
    # Whichever flags are in force there.
    found: set[str] = set()
    for flags in (0, re.IGNORECASE | re.DOTALL):
        state = _parser.State()
        state.flags = flags | re.UNICODE
        matches = _compiler.compile(_parser.SubPattern(state, [node]), flags).fullmatch
        found.update(filter(matches, _SAMPLES))
    return frozenset(found)


def _literals(nodes: list[Node]) -> int:
    """How many fixed characters come first."""
    for count, node in enumerate(nodes):
        if node[0] is not _parser.LITERAL:
            return count
    return len(nodes)


def _power(base: float, exponent: int) -> float:
    return min(base, 1e6) ** min(exponent, 40)
