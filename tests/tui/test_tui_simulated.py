"""The simulated fleet: the same for the same clock, telling from the first moment, and obedient."""

from __future__ import annotations

import pytest
from tui_hands import running
from tui_screen import LOADED, Screen
from tui_world import FrozenClock

from cockpit.errors import JobNotFound, UsageError
from cockpit.model.reports import NodeProof, RestartOptions
from cockpit.model.types import Job, JobState, LinkState
from cockpit.tui.app import CockpitApp
from cockpit.tui.settings import Settings
from cockpit.tui.simulated import SimulatedSource

LLAMA = "77a3a7000070"


def fleet_of(
    nodes: int = 128, gpus: int = 8, *, seed: int = 0, rate: float = 1.0
) -> tuple[SimulatedSource, FrozenClock]:
    frozen = FrozenClock()
    return SimulatedSource(nodes, gpus, seed=seed, rate=rate, clock=frozen.clock), frozen


def job(source: SimulatedSource, name: str) -> Job:
    return next(each for each in source.snapshot().jobs if each.name == name)


def heard(_: str) -> None:
    """Whoever gives an order hears of its progress; here nobody listens."""


def test_the_first_moment_shows_a_bit_of_everything() -> None:
    source, _ = fleet_of()
    fleet = source.snapshot()
    assert len(fleet.nodes) == 128
    assert {len(node.gpus) for node in fleet.nodes} == {0, 8}
    states = {each.name: (each.state, each.flags) for each in fleet.jobs}
    assert states["llama-70b"][0] is JobState.RUNNING
    assert "straggler" in states["llama-70b"][1]
    assert "stalled" in states["ablate-7b"][1]
    assert "waiting" in states["eval-7b"][1]
    assert {state for state, _ in states.values()} == {
        JobState.RUNNING, JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED,
    }  # fmt: skip
    assert sum(node.link.state is LinkState.UNREACHABLE for node in fleet.nodes) == 1
    assert len(job(source, "llama-70b").nodes) == 126
    assert job(source, "llama-70b").restarts == 2
    assert job(source, "dpo-13b").cause is not None


def test_the_same_seed_and_clock_give_the_same_fleet_however_often_it_was_looked_at() -> None:
    often, clock = fleet_of()
    once, other = fleet_of()
    for _ in range(30):
        clock.passed += 0.1
        often.snapshot()
    clock.passed = other.passed = 3.0
    a, b = often.snapshot(), once.snapshot()
    assert a.nodes == b.nodes
    assert a.jobs == b.jobs
    assert fleet_of(seed=1)[0].snapshot().nodes != fleet_of()[0].snapshot().nodes


def test_nothing_is_built_anew_while_nothing_changed() -> None:
    source, clock = fleet_of()
    first = source.snapshot()
    assert source.snapshot() is first
    clock.passed = 0.1
    second = source.snapshot()
    assert second.revision == first.revision + 1
    same = sum(new is old for new, old in zip(second.nodes, first.nodes, strict=True))
    assert 110 < same < 128


@pytest.mark.parametrize("nodes", [2, 3, 7, 8, 9, 256])
def test_every_size_of_fleet_is_whole_at_every_moment(nodes: int) -> None:
    source, clock = fleet_of(nodes, 2)
    for moment in range(0, 700, 23):
        clock.passed = float(moment)
        fleet = source.snapshot()
        assert len(fleet.nodes) == nodes
        names = {node.name for node in fleet.nodes}
        for each in fleet.jobs:
            assert {node.name for node in each.nodes} <= names
            assert each.metrics


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 8), (257, 8), (2, 0), (2, 17)])
def test_a_size_that_cannot_be_shown_is_refused(nodes: int, gpus: int) -> None:
    with pytest.raises(UsageError, match="2 to 256 nodes"):
        SimulatedSource(nodes, gpus)


def test_it_says_simulated_wherever_a_figure_is() -> None:
    source, _ = fleet_of()
    fleet = source.snapshot()
    assert all(node.simulated for node in fleet.nodes)
    assert all("simulated" in gpu.name for node in fleet.nodes for gpu in node.gpus)
    assert {node.cluster for node in fleet.nodes} == {"simulated"}
    assert source.banner == "SIMULATED"
    assert source.log(LLAMA).notice == "simulated"


def test_a_node_goes_away_and_comes_back() -> None:
    source, clock = fleet_of()
    seen = []
    for moment in (0.0, 70.0, 110.0):
        clock.passed = moment
        node = source.snapshot().nodes[31]
        seen.append(node.link.state)
        if node.link.state is LinkState.UNREACHABLE:
            assert node.sampled_at == 5_000.0 + 60.0
    assert seen == [LinkState.ONLINE, LinkState.UNREACHABLE, LinkState.ONLINE]


def test_the_big_job_fails_and_goes_on_by_itself() -> None:
    source, clock = fleet_of()
    clock.passed = 119.0
    before = job(source, "llama-70b")
    clock.passed = 124.0
    between = job(source, "llama-70b")
    clock.passed = 140.0
    after = job(source, "llama-70b")
    assert before.restarts == between.restarts == 2
    assert after.restarts == 3
    assert not any(rank.stage == "training" for node in between.nodes for rank in node.ranks)
    cause = after.history[2].cause
    assert cause is not None
    assert cause.rank is not None
    assert after.cause == cause


async def test_cancelling_empties_the_simulation_and_says_what_that_proves() -> None:
    source, _ = fleet_of(8)
    told: list[str] = []
    proofs: list[NodeProof] = []
    report = await source.orders.cancel(LLAMA, told.append, proofs.append)
    assert report.proof == "simulated: nothing of it is left on 6 of 6 nodes"
    assert any("simulated" in each for each in told)
    assert tuple(proofs) == report.nodes
    ended = job(source, "llama-70b")
    assert ended.state is JobState.CANCELLED
    assert not source.snapshot().nodes[0].gpus[0].processes or ended.ended_at is not None


async def test_a_restart_leaves_out_the_nodes_that_it_was_told_to() -> None:
    source, clock = fleet_of(8)
    options = RestartOptions(without=("n000",))
    assert await source.orders.restart(LLAMA, options, heard) == 1
    clock.passed = 5.0
    again = job(source, "llama-70b")
    assert again.attempt == 1
    assert [node.name for node in again.nodes] == ["n001", "n002", "n003", "n004", "n005"]
    assert again.state is JobState.RUNNING


async def test_restarting_the_ranks_ends_the_stall() -> None:
    source, clock = fleet_of(8)
    stalled = job(source, "ablate-7b")
    await source.orders.restart_ranks(stalled.id, heard)
    clock.passed = 20.0
    after = job(source, "ablate-7b")
    assert "stalled" not in after.flags
    assert after.history[-1].generation == 1
    assert after.history[0].reason == "operator"
    with pytest.raises(UsageError):
        await source.orders.restart_ranks(job(source, "dpo-13b").id, heard)


def test_its_log_grows_with_time_and_reads_the_same_again() -> None:
    source, clock = fleet_of()
    log = source.log(LLAMA)
    first, end = log.first, log.end
    lines = log.lines(end - 50, end)
    assert [line.number for line in lines] == list(range(end - 50, end))
    assert [line.at for line in lines] == sorted(line.at or 0 for line in lines)
    clock.passed = 2.0
    assert log.poll()
    assert log.end > end
    assert log.lines(end - 50, end) == lines
    log.older()
    assert log.first < first
    assert log.lines(end - 50, end) == lines
    assert not log.complete


def test_its_log_holds_tracebacks_of_many_ranks_colours_and_progress_bars() -> None:
    source, clock = fleet_of()
    log = source.log(LLAMA)
    clock.passed = 125.0
    log.poll()
    start = log.at_time(1_760_000_000.0 + 110.0)
    lines = log.lines(start, log.end)
    fallen = {line.origin.rank for line in lines if line.data.startswith(b"Traceback")}
    assert len(fallen) > 20
    assert any(b"\x1b[" in line.data for line in lines)
    assert any(line.data.count(b"\r") > 1 for line in lines)


def test_a_stalled_job_writes_nothing() -> None:
    source, clock = fleet_of()
    log = source.log(job(source, "ablate-7b").id)
    before = log.end
    clock.passed = 10.0
    assert not log.poll()
    assert log.end == before > 0


def test_selected_streams_are_shown_alone() -> None:
    source, _ = fleet_of()
    log = source.log(LLAMA)
    origin = next(o for o in log.origins if o.rank == 7 and o.stream == "out")
    alone = log.select(frozenset((origin,)))
    lines = alone.lines(alone.first, alone.end)
    assert lines
    assert {line.origin for line in lines} == {origin}
    assert alone.select(None).end == log.end


async def test_stacks_and_doctor_answer_for_the_simulation() -> None:
    source, _ = fleet_of(8)
    report = await source.stacks(LLAMA)
    assert sum(len(group.ranks) for group in report.groups) == 48
    assert len(report.groups) == 2
    assert (await source.doctor("simulated", "n000")).findings[0].message.count("simulated")
    with pytest.raises(JobNotFound):
        source.log("nothing")


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15)])
async def test_the_screen_shows_it_in_every_size(size: tuple[int, int]) -> None:
    source, frozen = fleet_of()
    app = CockpitApp(source, Settings(loaded=LOADED), clock=frozen.clock, pulsing=False)
    async with running(app, size):
        screen = Screen(app, source, frozen)  # type: ignore[arg-type]
        assert "SIMULATED" in screen.text
        assert "n000" in screen.text
        await screen.press("2")
        assert "llama-70b" in screen.text
        await screen.press("3")
        await screen.press("4")
        assert "step=" in screen.text
