"""The garbage collector while the screen is up: rarely, and never over what is there for good.

A screen makes thousands of short-lived objects a second and hardly any cycles. Python's usual
settings would have it look through all modules, widgets and connections again and again, which
keeps keys waiting.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (10_000, 20, 20)
"""New objects until the youngest are looked through; rounds of that until older ones are."""


@contextmanager
def seldom() -> Iterator[None]:
    """Collect rarely meanwhile; afterwards it is as before."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def settled() -> None:
    """Everything that is there now stays: look through it no more."""
    gc.freeze()
