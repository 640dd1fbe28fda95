"""`:fleet @lab,@b /down`: which clusters and which filter a line asks for. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from cockpit.errors import UsageError

ALL = "@*"


class Scope(NamedTuple):
    """What of it is None stays as it is; no clusters are all of them."""

    clusters: frozenset[str] | None = None
    pattern: str | None = None


def parse(argument: str, known: Sequence[str]) -> Scope:
    """Clusters with `@` before each, all with `@*`; then a filter, with or without `/` before it.

    Raises UsageError for a cluster that is not known.
    """
    clusters: set[str] | None = None
    rest = argument.strip()
    while rest.startswith("@"):
        word, _, rest = rest.partition(" ")
        rest = rest.strip()
        clusters = clusters or set()
        for name in filter(None, word.split(",")):
            clusters |= _named(name.removeprefix("@"), known)
    pattern: str | None = None
    if rest:
        # One slash begins a filter; a second one at its end makes it a regular expression.
        plain = rest.startswith("/") and not (rest.endswith("/") and len(rest) > 1)
        pattern = rest[1:] if plain else rest
    return Scope(None if clusters is None else frozenset(clusters), pattern)


def _named(name: str, known: Sequence[str]) -> set[str]:
    if name in ("", "*"):
        return set()
    if name in known:
        return {name}
    begun = [each for each in known if each.startswith(name)]
    if len(begun) == 1:
        return {begun[0]}
    near = difflib.get_close_matches(name, known, 1)
    names = ", ".join(f"@{each}" for each in known) or "none"
    raise UsageError(
        f"there is no cluster {name}",
        f"did you mean @{near[0]}?" if near else f"there are: {names}",
    )


def offers(known: Sequence[str]) -> list[str]:
    """What could stand behind `:fleet`."""
    return [*(f"@{name}" for name in known), ALL, "/down", "/stale", "/warning", "/free"]
