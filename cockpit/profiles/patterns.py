"""Whether a regular expression can be searched for safely: how long may it take at worst?

Python's `re` backtracks, and nothing can interrupt it; whoever searches in the controller's loop
takes only patterns that `check` accepts, in lines of at most LINE characters. `patterncost` counts
in how many ways a pattern may divide such a line; nothing here searches in anybody's text.
"""

from __future__ import annotations

import re
import warnings

from cockpit.errors import UsageError

LINE = 400
"""Characters of a line in which a pattern is searched."""
MAX_LENGTH = 300
MAX_REPEATS = 4
"""Repeats without a limit in one pattern."""
MAX_STEPS = 2_000_000
"""Steps that a search of one line may take at worst, where an ordinary one takes hundreds."""

_LIMITS = "limit them: {0,20} instead of *, {1,20} instead of +; .* at an end can be left out"


def compiled(pattern: str) -> re.Pattern[str]:
    """Raises UsageError unless `pattern` is a regular expression."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"it is no regular expression: {error}",
            "in single quotes a backslash stands for itself: '[0-9]+'",
        ) from None


def check(pattern: str) -> re.Pattern[str]:
    """As `compiled`. Raises UsageError as well where a search may take very long."""
    if len(pattern) > MAX_LENGTH:
        raise UsageError(
            f"it has {len(pattern)} characters, {MAX_LENGTH} are allowed",
            "several rules may stand for one",
        )
    found = compiled(pattern)
    try:
        from cockpit.profiles import patterncost
    except ImportError:  # a Python that keeps its parser elsewhere
        return found
    cost = patterncost.measure(pattern, LINE)
    if cost.nested:
        raise UsageError(
            "a repeat without a limit stands around something that can match in several ways,"
            " such as another repeat; a search may take for ever",
            r"such as '[\w ]+: fatal' instead of '(\w+ ?)+: fatal'",
        )
    if cost.endless > MAX_REPEATS:
        raise UsageError(
            f"it has {cost.endless} repeats without a limit, {MAX_REPEATS} are allowed", _LIMITS
        )
    if cost.steps > MAX_STEPS:
        raise UsageError(
            "its repeats can divide a line in so many ways that a search may take very long",
            f"put fixed text between them, or {_LIMITS}",
        )
    return found
