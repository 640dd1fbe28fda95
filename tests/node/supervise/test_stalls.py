from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from cockpit.node.supervise.stalls import (
    JUMP_SECONDS,
    LONGEST_PAUSE,
    PATIENT,
    SETTLE,
    Look,
    Recovered,
    Stall,
    StallWatch,
)

LIMIT = 100.0


def rank(number: int, since: float, limit: float | None = LIMIT, first: bool = False) -> Look:
    step = None if first else 41
    return Look(number, number % 4, 1000 + number, since, limit, step, first)


class World:
    """A watch whose clock is a number; ranks beat when the test says so."""

    def __init__(self, count: int = 4, interval: float = 1.0) -> None:
        self.watch = StallWatch(interval)
        self.now = 1000.0
        self.ranks = {number: rank(number, self.now) for number in range(count)}
        self.found: list[tuple[float, Stall | Recovered]] = []

    def beat(self, *numbers: int) -> None:
        for number in numbers or tuple(self.ranks):
            self.ranks[number] = replace(self.ranks[number], since=self.now, first=False)

    def run(self, seconds: float, *beating: int, step: float = 1.0) -> None:
        """Look every `step` seconds; the ranks `beating` beat all the time."""
        for _ in range(round(seconds / step)):
            self.now += step
            if beating:
                self.beat(*beating)
            found = self.watch.look(self.now, list(self.ranks.values()))
            if found is not None:
                self.found.append((self.now - 1000.0, found))


def test_a_stall_is_told_once_when_the_limit_is_passed() -> None:
    world = World()
    world.run(100)
    assert world.found == []
    world.run(500)
    ((at, stall),) = world.found
    assert at == 101
    assert isinstance(stall, Stall) and not stall.joined
    assert [(r.rank, r.local_rank, r.pid, r.step) for r in stall.ranks] == [
        (number, number, 1000 + number, 41) for number in range(4)
    ]
    assert {(r.age, r.limit, r.first) for r in stall.ranks} == {(101.0, 100.0, False)}
    assert stall.message == "ranks 0-3 have been silent for 101 s at step 41 (limit 100 s)"


def test_ranks_that_are_drawn_in_soon_after_are_no_news() -> None:
    world = World()
    world.run(3, 0, 2, 3)
    world.run(SETTLE - 5, 0)
    world.run(300)
    assert len(world.found) == 1
    assert [r.rank for r in world.found[0][1].ranks] == [1]  # type: ignore[union-attr]


def test_a_rank_that_falls_silent_much_later_is_news_of_the_same_stall() -> None:
    world = World()
    world.run(50, 0, 2, 3)
    world.run(300)
    (first, second) = (found for _, found in world.found)
    assert isinstance(first, Stall) and isinstance(second, Stall)
    assert ([r.rank for r in first.ranks], first.joined) == ([1], False)
    assert ([r.rank for r in second.ranks], second.joined) == ([0, 1, 2, 3], True)


def test_it_is_over_when_every_rank_beats_again() -> None:
    world = World()
    world.run(110)
    world.run(5, 0, 1, 2)
    assert len(world.found) == 1
    world.run(1, 0, 1, 2, 3)
    assert world.found[-1][1] == Recovered()
    world.run(110)
    assert [type(found) for _, found in world.found] == [Stall, Recovered, Stall]


def test_a_stall_ends_without_a_word_when_its_ranks_end() -> None:
    world = World()
    world.run(110, 0)
    for number in (1, 2, 3):
        del world.ranks[number]
    world.run(300, 0)
    assert len(world.found) == 1


def test_a_rank_without_a_limit_may_be_silent_for_ever() -> None:
    world = World(1)
    world.ranks[0] = rank(0, 1000.0, limit=None, first=True)
    world.run(100_000, step=1.0)
    assert world.found == []


def test_a_rank_that_never_beat_is_told_as_such() -> None:
    world = World(1)
    world.ranks[0] = rank(0, 1000.0, limit=30.0, first=True)
    world.run(40)
    ((_, stall),) = world.found
    assert isinstance(stall, Stall) and stall.ranks[0].first
    assert stall.message == "rank 0 has not beaten once in 31 s since the start (limit 30 s)"


@pytest.mark.parametrize(("interval", "gap"), [(1.0, JUMP_SECONDS + 1), (60.0, 181.0)])
def test_after_a_standstill_every_rank_has_its_whole_limit_again(
    interval: float, gap: float
) -> None:
    world = World(interval=interval)
    world.run(60, step=min(interval, 20))
    world.now += gap + 50
    world.run(100, step=min(interval, 20))
    assert world.found == []
    world.run(120, step=min(interval, 20))
    assert len(world.found) == 1


def test_looks_that_come_a_little_late_are_no_standstill() -> None:
    world = World(interval=0.1)
    world.run(130, step=JUMP_SECONDS - 0.5)
    assert len(world.found) == 1


def test_a_standstill_is_no_recovery() -> None:
    world = World()
    world.run(110)
    world.now += 10_000
    world.run(50)
    assert len(world.found) == 1
    world.run(1, 0, 1, 2, 3)
    assert world.found[-1][1] == Recovered()


def test_what_a_predecessor_declared_is_not_declared_again() -> None:
    world = World()
    world.watch = StallWatch(1.0, dict.fromkeys(range(4), 1000.0))
    world.run(300)
    assert world.found == []
    world.run(1, 0, 1, 2, 3)
    assert world.found[-1][1] == Recovered()


def test_a_message_names_who_and_where_in_few_words() -> None:
    world = World(4)
    world.ranks = {n: replace(rank(n, 1000.0 - n), step=40 + n % 2) for n in (0, 1, 2, 5, 7)}
    world.run(110)
    ((_, stall),) = world.found[:1]
    assert isinstance(stall, Stall)
    assert stall.message == "rank 7 has been silent for 101 s at step 41 (limit 100 s)"
    world = World(1)
    world.ranks = {n: replace(rank(n, 1000.0), step=40 + n % 2) for n in (0, 1, 2, 5, 7)}
    world.run(101)
    ((_, stall),) = world.found
    assert isinstance(stall, Stall)
    message = "ranks 0-2, 5, 7 have been silent for 101 s at step 40 to 41 (limit 100 s)"
    assert stall.message == message


def flapping(world: World, turns: int) -> list[float]:
    """Let rank 1 fall silent for a little longer than its limit, again and again."""
    for _ in range(turns):
        world.run(LIMIT + 5, 0, 2, 3)
        world.run(2, 0, 1, 2, 3)
    return [at for at, found in world.found if isinstance(found, Stall)]


def test_ranks_that_stall_again_and_again_are_declared_ever_more_seldom() -> None:
    turn = LIMIT + 7
    times = flapping(World(), 400)
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert pauses[: PATIENT - 1] == [turn] * (PATIENT - 1)
    for doubling, pause in enumerate(pauses[PATIENT - 1 :], 1):
        least = min(LIMIT * 2**doubling, LONGEST_PAUSE)
        assert least <= pause <= least + 2 * turn
    assert pauses[-1] >= LONGEST_PAUSE


def test_a_rank_that_stalls_for_the_first_time_is_news_among_those_that_do_always() -> None:
    world = World()
    flapping(world, 20)
    before = len(world.found)
    world.run(110, 0, 1, 3)
    _, stall = world.found[before]
    assert isinstance(stall, Stall) and [r.rank for r in stall.ranks] == [2]


def test_a_rank_that_hangs_for_good_after_many_stalls_is_declared_in_the_end() -> None:
    world = World()
    flapping(world, 20)
    before = len(world.found)
    world.run(LONGEST_PAUSE + 10, 0, 2, 3)
    assert [type(found) for _, found in world.found[before:]] == [Stall]
