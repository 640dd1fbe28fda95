"""The plot of a metric: what is drawn where, and what is no number is told."""

from __future__ import annotations

import math

import msgspec
import pytest
from tui_screen import Opener
from tui_world import WALL, job

from cockpit.model.types import Fleet, Job, Metric
from cockpit.tui.draw.spans import Line, Span, plain, width_of
from cockpit.tui.jobs import plot
from cockpit.tui.jobs.plotdialog import PlotDialog

NAN = math.nan


def drawn(values: list[float], width: int = 51, height: int = 12) -> list[str]:
    points = [(WALL + n, value) for n, value in enumerate(values)]
    return [plain(line.spans) for line in plot.drawn(points, width, height)]


def dots(rows: list[str]) -> list[list[bool]]:
    """The dots of the drawing, the highest row first, the leftmost column first."""
    found = []
    for row in rows[:-2]:
        cells = row[plot.MARGIN + 1 :]
        for y in range(4):
            bits = [plot._DOTS[y][0], plot._DOTS[y][1]]
            found.append(
                [
                    0x2800 <= ord(cell) < 0x2900 and bool((ord(cell) - 0x2800) & bit)
                    for cell in cells
                    for bit in bits
                ]
            )
    return found


def test_a_rising_figure_goes_from_the_lower_left_to_the_upper_right() -> None:
    picture = dots(drawn([float(n) for n in range(40)]))
    assert picture[-1][0]
    assert picture[0][-1]
    assert not picture[0][0]
    assert not picture[-1][-1]
    columns = [any(row[x] for row in picture) for x in range(len(picture[0]))]
    assert all(columns), "neighbouring points are joined"


def test_every_line_fits_and_there_are_as_many_as_asked_for() -> None:
    for width, height in ((51, 12), (40, 6), (117, 30)):
        lines = plot.drawn([(WALL, 1.0), (WALL + 9, 2.0)], width, height)
        assert len(lines) == height
        assert all(width_of(line.spans) <= width for line in lines)


def test_the_axes_say_the_extremes_and_the_times() -> None:
    rows = drawn([2.5, 0.5, 1.0])
    assert rows[0].strip().startswith("2.5┤")
    assert rows[-3].strip().startswith("0.5┤")
    assert rows[-1].split() == ["08:53:20", "08:53:21", "08:53:22"]


def test_nan_is_a_gap_with_a_mark_at_its_time_and_never_a_value() -> None:
    rows = drawn([1.0, 1.0, NAN, NAN, 1.0, 1.0])
    floor = rows[-2]
    assert floor.count("×") == 2
    picture = dots(rows)
    columns = [any(row[x] for row in picture) for x in range(len(picture[0]))]
    assert columns[0]
    assert columns[-1]
    marks = [at for at, cell in enumerate(floor[plot.MARGIN + 1 :]) if cell == "×"]
    for mark in marks:
        assert not columns[2 * mark]
    assert not all(columns[2 * marks[0] : 2 * marks[-1]])


def test_infinities_are_marked_by_their_sign_and_do_not_stretch_the_scale() -> None:
    rows = drawn([1.0, math.inf, 2.0, -math.inf, 3.0])
    assert "↑" in rows[-2]
    assert "↓" in rows[-2]
    assert rows[0].strip().startswith("3┤")


def test_only_nan_still_has_a_picture() -> None:
    rows = drawn([NAN, NAN])
    assert "×" in rows[-2]
    assert not any(any(row) for row in dots(rows))


def test_a_figure_that_never_changes_is_a_line_in_the_middle() -> None:
    picture = dots(drawn([5.0] * 10))
    used = [y for y, row in enumerate(picture) if any(row)]
    assert len(used) == 1
    assert 0 < used[0] < len(picture) - 1


@pytest.mark.parametrize(("width", "height"), [(5, 12), (51, 3), (1, 1)])
def test_no_room_is_said_and_not_a_crash(width: int, height: int) -> None:
    assert plot.drawn([(WALL, 1.0)], width, height)[0] == Line((Span("no room for a plot", "dim"),))


def test_no_points_and_one_point_are_drawn_too() -> None:
    assert "nothing was reported" in drawn([])[0]
    assert any(any(row) for row in dots(drawn([3.0])))


def test_times_that_run_backwards_or_stand_still_do_not_break_the_picture() -> None:
    lines = plot.drawn([(WALL, 1.0), (WALL, 2.0), (WALL - 5, 3.0)], 51, 12)
    assert len(lines) == 12


def with_metrics() -> Job:
    history = tuple((WALL - 60 + n, 3 - n / 10 if n != 12 else NAN) for n in range(20))
    loss = Metric(name="loss", rank=0, value=1.1, low=1.1, high=1.2, history=history)
    rate = Metric(name="lr [x]", rank=0, value=3e-4, low=3e-4, high=3e-4, history=history[:3])
    return msgspec.structs.replace(job(), metrics=(loss, rate))


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15)])
async def test_a_metric_is_plotted_on_demand_and_tab_goes_to_the_next(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(Fleet(revision=1, jobs=(with_metrics(),)), size=size) as screen:
        await screen.press("3", "M")
        assert isinstance(screen.app.screen, PlotDialog)
        assert "loss of rank 0  now 1.1" in screen.text
        assert "×" in screen.text
        assert "1 of 2 metrics" in screen.text
        await screen.press("tab")
        assert "lr [x] of rank 0  now 0.0003" in screen.text
        await screen.press("escape")
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_the_plot_goes_on_while_it_is_open(opened: Opener) -> None:
    base = with_metrics()
    async with opened(Fleet(revision=1, jobs=(base,))) as screen:
        await screen.press("3", "M")
        loss = msgspec.structs.replace(base.metrics[0], value=0.25)
        screen.source.change(msgspec.structs.replace(base, metrics=(loss, base.metrics[1])))
        await screen.pulse()
        assert "now 0.25" in screen.text


async def test_a_job_without_metrics_says_so_instead_of_an_empty_plot(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(job(),))) as screen:
        await screen.press("3", "M")
        assert screen.app.screen is screen.app.screen_stack[0]
        assert "llama has reported no metric" in screen.said[-1]
