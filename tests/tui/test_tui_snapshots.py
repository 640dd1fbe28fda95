"""Pictures of each view in the states that matter, at the three sizes it is made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from tui_screen import Screen, make
from tui_world import NodeResult, Result, chatter, healthy, job, large, stalled_job, troubled

from cockpit.model.types import Fleet, Leftover

WIDE, USUAL, SMALL = (120, 36), (80, 24), (60, 15)


def stalled() -> Fleet:
    return Fleet(revision=1, nodes=healthy().nodes, jobs=(stalled_job(),))


PICTURES: dict[str, tuple[Callable[[], Fleet], tuple[str, ...], tuple[int, int]]] = {
    "fleet_healthy_wide": (healthy, (), WIDE),
    "fleet_troubled_usual": (troubled, ("j",), USUAL),
    "fleet_troubled_small": (troubled, (), SMALL),
    "fleet_128_nodes_wide": (large, (), WIDE),
    "jobs_wide": (healthy, ("2",), WIDE),
    "jobs_small": (healthy, ("2", "j"), SMALL),
    "job_running_usual": (healthy, ("2", "enter"), USUAL),
    "job_recovered_wide": (healthy, ("2", "j", "enter"), WIDE),
    "job_failed_usual": (healthy, ("2", "G", "enter"), USUAL),
    "job_failed_small": (healthy, ("2", "G", "enter"), SMALL),
    "logs_reading_usual": (healthy, ("4", "k", "k"), USUAL),
    "node_wide": (healthy, ("enter",), WIDE),
    "node_small": (troubled, ("enter",), SMALL),
    "job_stalled_wide": (stalled, ("2", "enter"), WIDE),
    "profiles_wide": (healthy, ("5",), WIDE),
    "events_usual": (troubled, ("E",), USUAL),
    "help_usual": (healthy, ("question_mark",), USUAL),
    "restart_usual": (healthy, ("2", "R"), USUAL),
    "cancel_usual": (healthy, ("2", "ctrl+d"), USUAL),
    "too_small": (healthy, (), (50, 12)),
}


def _screen(fleet: Fleet, **options: Any) -> Screen:
    screen = make(fleet, **options)
    for each in fleet.jobs:
        screen.source.write(each.id, *chatter(300, generation=each.history[-1].generation))
    return screen


def _steps(screen: Screen, keys: tuple[str, ...]) -> Callable[[Pilot[None]], Any]:
    async def run(pilot: Pilot[None]) -> None:
        await screen.settle()
        for key in keys:
            await screen.press(key)
        await screen.pulse()

    return run


@pytest.mark.parametrize("name", PICTURES)
def test_the_view_looks_as_it_should(snap_compare: Callable[..., bool], name: str) -> None:
    fleet, keys, size = PICTURES[name]
    screen = _screen(fleet())
    assert snap_compare(screen.app, terminal_size=size, run_before=_steps(screen, keys))


def test_the_proof_of_a_cancel_looks_as_it_should(snap_compare: Callable[..., bool]) -> None:
    screen = _screen(Fleet(revision=1, jobs=(job(nodes=job().nodes[:1]),)))
    screen.source.orders.result = Result(
        job="llama-1a2b",
        nodes=(NodeResult(name="gpu01", swept=(Leftover(pid=77, command="sleep"),)),),
        proof="nothing of it is left on 1 of 1 nodes, 1 processes had to be swept",
    )
    screen.source.orders.release.set()
    steps = _steps(screen, ("2", "ctrl+d", "right", "enter"))
    assert snap_compare(screen.app, terminal_size=USUAL, run_before=steps)


@pytest.mark.parametrize(
    ("name", "fleet", "keys"),
    [
        ("fleet", troubled, ()),
        ("jobs", healthy, ("2",)),
        ("job", healthy, ("2", "G", "enter")),
        ("logs", healthy, ("4",)),
    ],
)
def test_the_view_without_colours_looks_as_it_should(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fleet: Callable[[], Fleet],
    keys: tuple[str, ...],
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = _screen(fleet())
    assert snap_compare(screen.app, terminal_size=USUAL, run_before=_steps(screen, keys))
