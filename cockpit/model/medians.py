"""Medians. The standard library's `statistics` takes longer to import than all of the model."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence


def median(values: Iterable[float]) -> float:
    """The median. Raises IndexError without values."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def median_without(ordered: Sequence[float], value: float) -> float:
    """The median of a sorted list without one occurrence of `value`, which must be in it."""
    gone = bisect_left(ordered, value)
    count = len(ordered) - 1

    def at(index: int) -> float:
        return ordered[index if index < gone else index + 1]

    middle = count // 2
    return at(middle) if count % 2 else (at(middle - 1) + at(middle)) / 2
