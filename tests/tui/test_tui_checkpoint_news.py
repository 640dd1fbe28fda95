"""A checkpoint that was asked for, and what came of it, is news once each."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from tui_world import WALL, job

from cockpit.model.types import Checkpoint, Fleet
from cockpit.tui.house.happenings import SETTLED, Chronicle

ASKED = Checkpoint(
    command="one", generation=0, step=1240, by="ada@laptop", at=WALL, ranks=(0, 1, 2)
)


def test_the_request_and_its_outcome_are_told_and_no_rank_in_between() -> None:
    replace = msgspec.structs.replace
    states = [
        None,
        ASKED,
        replace(ASKED, saved=((0, 1240),)),
        replace(ASKED, saved=((0, 1240), (1, 1240), (2, 1240))),
        replace(ASKED, command="two", step=2000, void="the generation has ended"),
    ]
    fleets = [
        Fleet(revision=n, jobs=(replace(job(), checkpoint=item),)) for n, item in enumerate(states)
    ]
    chronicle = Chronicle()
    chronicle.observe(None, fleets[0], WALL)
    told = []
    for before, after in pairwise(fleets):
        told += chronicle.observe(before, after, WALL + SETTLED + 1)
    assert [(each.kind, each.tone, each.text) for each in told] == [
        ("order", "warn", "llama — checkpoint at step 1240 asked for by ada@laptop"),
        ("order", "ok", "llama — checkpoint at step 1240: saved by 3 ranks"),
        ("order", "warn", "llama — checkpoint at step 2000: 0 of 3 ranks saved; the generation"
         " has ended"),
    ]  # fmt: skip
