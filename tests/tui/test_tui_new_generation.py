"""After a restart the new processes are told of by their own words, and run only once they do."""

from __future__ import annotations

import msgspec
import pytest
from tui_screen import Opener
from tui_world import WALL, FakeLine, origin, recovered_job

from cockpit.model.types import Fleet, Job, JobNode, RankState, Stage
from cockpit.tui.draw.words import is_starting, verdict
from cockpit.tui.jobs import attempts


def _restarted(stage: Stage = Stage.STARTING, state: RankState = RankState.RUNNING) -> Job:
    """Generation 1 formed ten seconds ago."""
    base = recovered_job()

    def ranks(job: Job) -> tuple[JobNode, ...]:
        return tuple(
            msgspec.structs.replace(
                node,
                ranks=tuple(
                    msgspec.structs.replace(rank, stage=stage, state=state, metrics={})
                    for rank in node.ranks
                ),
            )
            for node in job.nodes
        )

    old, new = base.history
    new = msgspec.structs.replace(new, started_at=WALL - 1)
    return msgspec.structs.replace(base, nodes=ranks(base), history=(old, new))


async def test_the_last_words_of_the_dead_are_not_those_of_their_successors(
    opened: Opener,
) -> None:
    async with opened(Fleet(revision=1, jobs=(_restarted(),))) as screen:
        old = origin(1)._replace(generation=0)
        screen.source.write("abl-9f9f", FakeLine(old, WALL - 300, b"RuntimeError: the old one"))
        await screen.press("3")
        ranks = next(row for row in screen.text.split("\n") if " r1 " in row)
        assert "the old one" not in ranks
        fresh = origin(1)._replace(generation=1)
        screen.source.write("abl-9f9f", FakeLine(fresh, WALL, b"hello from the new one"))
        screen.frozen.passed += 1
        await screen.pulse()
        ranks = next(row for row in screen.text.split("\n") if " r1 " in row)
        assert "hello from the new one" in ranks


def test_a_generation_is_starting_where_the_head_says_so_and_runs_once_it_trains() -> None:
    starting = _restarted()
    assert "is starting" in verdict(starting, WALL)[0]
    assert is_starting(starting, WALL)
    newest = attempts.items_of(starting.history, WALL, starting=True)[0]
    assert attempts.row(newest).cells[-1].spans[0].text == "◔ is starting"
    at_work = _restarted(Stage.TRAINING)
    assert "recovered" in verdict(at_work, WALL)[0]
    assert not is_starting(at_work, WALL)
    newest, older = attempts.items_of(at_work.history, WALL)
    assert attempts.row(newest).cells[-1].spans[0].text == "● runs"
    assert "starting" not in attempts.row(older).cells[-1].spans[0].text


@pytest.mark.parametrize(
    ("stage", "state"),
    [(Stage.SILENT, RankState.RUNNING), (Stage.STARTING, RankState.FAILED)],
)
def test_ranks_that_fell_silent_or_failed_are_not_starting(stage: Stage, state: RankState) -> None:
    assert not is_starting(_restarted(stage, state), WALL)


async def test_the_table_of_attempts_says_that_the_newest_is_starting(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(_restarted(),))) as screen:
        await screen.press("3")
        assert "0 gen 1" in screen.text
        assert "◔ is starting" in screen.text
        assert "● runs" not in screen.text
