"""The Fleet view on the screen: heat wall, table, lines around them, choices of the person."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from tui_screen import Opener, Screen
from tui_world import AWAY, WALL, healthy, large, node, troubled

from cockpit.model.types import Fleet, Gpu, Node
from cockpit.tui.actions import View
from cockpit.tui.fleet.heatwall import HeatWall
from cockpit.tui.fleet.order import HOLD
from cockpit.tui.fleet.view import FleetView
from cockpit.tui.house.happenings import Happening

replace = msgspec.structs.replace


def _view(screen: Screen) -> FleetView:
    return screen.app.query_one(FleetView)


def _wall(screen: Screen) -> HeatWall:  # type: ignore[type-arg]
    return screen.app.query_one(HeatWall)


def _at(screen: Screen) -> str:
    found = _view(screen).node
    return "" if found is None else found.name


def _fleet(*nodes: Node) -> Fleet:
    return Fleet(revision=1, nodes=nodes)


async def _pass(screen: Screen, points: int) -> None:
    """Let time pass, ten seconds a point, with samples that are always new."""
    first = screen.frozen.passed
    for step in range(points + 1):
        screen.frozen.passed = first + step * 10.0
        at = screen.frozen.clock.mono()
        screen.source.change(nodes=tuple(replace(n, sampled_at=at) for n in healthy().nodes))
        await screen.pulse()


def _order(screen: Screen) -> list[str]:
    return [key.partition("/")[2] for key in _view(screen).mark_order]


# ------------------------------------------------------------------------- wall


async def test_128_nodes_are_all_on_one_screen(opened: Opener) -> None:
    async with opened(large()) as screen:
        assert all(f"n{number:03d} " in screen.text for number in range(128))
        assert "128/128 nodes live" in screen.text
        assert "1024 GPUs" in screen.text
        assert "heat wall" in screen.text.splitlines()[2]


async def test_few_nodes_are_a_table_and_v_switches(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        assert "LINK" in screen.text
        await screen.press("v")
        assert "LINK" not in screen.text
        assert "gpu01" in screen.text
        assert screen.app.focused is _wall(screen)
        await screen.press("v")
        assert "LINK" in screen.text


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15), (200, 50)])
async def test_the_wall_fits_every_terminal_and_the_cursor_reaches_the_last(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(large(), size=size) as screen:
        assert all(len(line) == size[0] for line in screen.text.splitlines())
        await screen.press("G")
        assert "❯n127" in screen.text
        await screen.press("g")
        assert "❯n000" in screen.text


async def test_the_cursor_goes_in_two_dimensions(opened: Opener) -> None:
    async with opened(large()) as screen:
        rows = -(-128 // _wall(screen).columns)
        await screen.press("right")
        assert _at(screen) == f"n{rows:03d}"
        await screen.press("j", "right", "h")
        assert _at(screen) == f"n{rows + 1:03d}"
        await screen.press("left", "left", "k")
        assert _at(screen) == "n000"
        await screen.press("G", "right")
        assert _at(screen) == "n127"


async def test_right_of_a_short_last_column_is_its_end(opened: Opener) -> None:
    async with opened(large()) as screen:
        wall = _wall(screen)
        rows = -(-128 // wall.columns)
        wall.move(rows * (wall.columns - 1) - 1)
        await screen.press("right")
        assert _at(screen) == "n127"


async def test_a_click_selects_a_cell_and_a_double_click_opens_it(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.click(HeatWall, offset=(30, 2))
        assert _at(screen) == "n028"
        await screen.click(HeatWall, offset=(4, 3), times=2)
        assert screen.app.view is View.NODE
        assert " Node n003 of lab" in screen.text


async def test_a_click_beside_the_cells_does_nothing(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.click(HeatWall, offset=(110, 25))
        await screen.click(HeatWall, offset=(4, 27))
        assert _at(screen) == "n000"


async def test_states_differ_by_shape_and_stale_is_never_zero(opened: Opener) -> None:
    async with opened(troubled()) as screen:
        await screen.press("v")
        text = screen.text
        assert "✖✖✖✖✖✖✖✖   41s✖" in text
        assert "▆▆▆▅▅▅▅▅    9s?" in text
        assert "········    2s◌" in text
        assert "s simulated" in text
        assert " 0%" not in text
        screen.frozen.passed = 120
        await screen.pulse()
        assert "    2m?" in screen.text


async def test_marks_are_drawn_in_the_wall_and_in_the_table(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.press("space", "j", "space", "k")
        assert "◆n000" in screen.text
        assert "◈n002" in screen.text
        assert "2 marked" in screen.text
        await screen.press("v")
        assert "◆ n000" in screen.text
        assert [each.name for each in screen.app.marked_nodes] == ["n000", "n002"]


async def test_a_range_is_marked_in_the_order_of_the_screen(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.press("space", "j", "ctrl+@")
        assert [each.name for each in screen.app.marked_nodes] == ["n000", "n001", "n002"]


async def test_only_cells_that_changed_are_repainted(opened: Opener) -> None:
    async with opened(large()) as screen:
        wall = _wall(screen)
        before = list(wall._strips)
        nodes = list(screen.source.fleet.nodes)
        nodes[3] = node("n003", level=1)
        screen.source.change(nodes=tuple(nodes))
        await screen.pulse()
        changed = [y for y, strip in enumerate(wall._strips) if strip is not before[y]]
        assert changed == [3]


async def test_sixteen_gpus_no_gpus_and_many_gpus_live_beside_each_other(opened: Opener) -> None:
    fleet = _fleet(
        node("big", count=16, level=100), replace(node("none"), gpus=()), node("many", count=40)
    )
    async with opened(fleet, size=(80, 24)) as screen:
        await screen.press("v")
        assert "no gpu" in screen.text
        lines = screen.text.splitlines()
        assert all(len(line) == 80 for line in lines)
        await screen.press("v")
        assert "no GPUs" in screen.text


async def test_the_wall_keeps_its_colours_out_of_a_colourless_terminal(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(large()) as screen:
        styles = [s.style for strip in _wall(screen)._strips for s in strip if s.style]
        assert {style.color.triplet for style in styles if style.color is not None} <= {None}
        assert "n000" in screen.text


async def test_a_theme_change_repaints_the_wall(opened: Opener) -> None:
    async with opened(large()) as screen:
        before = {s.style for strip in _wall(screen)._strips for s in strip}
        screen.app.theme = "cockpit-light"
        await screen.pulse()
        assert {s.style for strip in _wall(screen)._strips for s in strip}.isdisjoint(before)


async def test_hostile_names_are_text_and_nothing_else(opened: Opener) -> None:
    evil = "[/data/x]\x1b[31m[rank0]\x07"
    fleet = _fleet(
        replace(node("[b]bold"), cluster="[/lab]", gpus=(Gpu(index=0, name="[red]H100"),)),
        replace(node("x", link=replace(AWAY, why=evil)), health="crit", health_reasons=(evil,)),
    )
    async with opened(fleet) as screen:
        for _ in range(2):
            assert "[b]bold" in screen.text
            assert "\x1b" not in screen.text
            assert "\x07" not in screen.text
            await screen.press("j", "v")
        await screen.press("enter", "escape")
        assert "[rank0]" in screen.text


# ---------------------------------------------------------------------- choices


async def test_the_metric_goes_round_and_each_is_drawn(opened: Opener) -> None:
    async with opened(large()) as screen:
        seen = []
        for _ in range(5):
            seen.append(next(part for part in screen.text.splitlines()[3].split() if "●" in part))
            await screen.press("U")
        assert seen == ["80%●", "90%●", "5.0kW●", "62°C●", "--●"]
        assert "80%●" in screen.text


async def test_on_a_narrow_table_the_metric_decides_which_bars_stay(opened: Opener) -> None:
    async with opened(healthy(), size=(60, 15)) as screen:
        assert "▾GPU UTIL" in screen.text
        await screen.press("U", "U")
        assert "▾POWER" in screen.text
        assert "GPU UTIL" not in screen.text


async def test_orders_go_round_and_the_cursor_stays_with_its_node(opened: Opener) -> None:
    async with opened(troubled()) as screen:
        assert _order(screen) == ["gpu02", "gpu03", "gpu04", "gpu01", "gpu05"]
        await screen.press("j")
        assert _at(screen) == "gpu03"
        await screen.press("S")
        assert _order(screen) == ["gpu01", "gpu02", "gpu03", "gpu04", "gpu05"]
        assert _at(screen) == "gpu03"
        assert "by name" in screen.text
        await screen.press("S")
        assert _order(screen)[:2] == ["gpu05", "gpu01"]
        assert "highest first" in screen.text


async def test_rows_stay_where_they_are_while_the_cursor_moves(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("j")
        screen.frozen.passed = 4
        nodes = (*screen.source.fleet.nodes[:2], node("gpu03", link=AWAY, age=None))
        screen.source.change(nodes=nodes)
        await screen.pulse()
        assert _order(screen) == ["gpu01", "gpu02", "gpu03"]
        screen.frozen.passed = HOLD + 4
        await screen.pulse()
        assert _order(screen)[0] == "gpu03"
        assert _at(screen) == "gpu02"


async def test_only_problems_are_shown_until_escape(opened: Opener) -> None:
    async with opened(troubled()) as screen:
        await screen.press("f")
        assert _order(screen) == ["gpu02", "gpu03"]
        assert "problems only" in screen.text
        assert "2 of 5 shown" in screen.text
        await screen.press("escape")
        assert len(_order(screen)) == 5
    async with opened(healthy()) as screen:
        await screen.press("f")
        assert "no node has a problem: f shows all" in screen.text


async def test_a_filter_is_live_inverts_and_is_remembered(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.press("slash", *"n01")
        assert len(_order(screen)) == 10
        await screen.press("home", "exclamation_mark")
        assert len(_order(screen)) == 118
        await screen.press("backspace", "enter")
        assert "10 of 128 shown" in screen.text
        await screen.press("escape")
        assert len(_order(screen)) == 128
        await screen.press("slash")
        assert len(_order(screen)) == 10
        await screen.press("escape", "slash", *"zzz", "enter")
        assert "no node matches" in screen.text


async def test_one_line_chooses_clusters_and_filter(opened: Opener) -> None:
    fleet = _fleet(
        node("a1"), replace(node("b1"), cluster="prod"), replace(node("b2"), cluster="prod"),
        replace(node("c1"), cluster="test"),
    )  # fmt: skip
    async with opened(fleet) as screen:
        await screen.press("2", "colon", *"fleet @prod,@test", "enter")
        assert screen.app.view is View.FLEET
        assert _order(screen) == ["b1", "b2", "c1"]
        assert "@prod @test" in screen.text
        await screen.press("colon", *"fleet @prod /b2", "enter")
        assert _order(screen) == ["b2"]
        await screen.press("escape", "at", *"*", "enter")
        assert len(_order(screen)) == 4


async def test_the_profile_says_which_clusters_come_first(opened: Opener) -> None:
    fleet = _fleet(node("a1"), replace(node("b1"), cluster="prod"))
    async with opened(fleet, clusters=("prod",)) as screen:
        assert _order(screen) == ["b1"]
    async with opened(fleet, clusters=("gone",)) as screen:
        assert "no nodes in @gone: `:fleet @*` shows all clusters" in screen.text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("metric power", "power of its limit"),
        ("metric temp", "30-90 °C"),
        ("sort name", "by name"),
        ("problems", "problems only"),
    ],
)
async def test_choices_are_made_by_name_from_anywhere(opened: Opener, line: str, told: str) -> None:
    async with opened(troubled()) as screen:
        await screen.press("2", "colon", *line, "enter")
        assert screen.app.view is View.FLEET
        assert told in screen.text.splitlines()[2]


@pytest.mark.parametrize(
    "line", ["metric nonsense", "sort", "fleet @nowhere", "node nothere", "problems now"]
)
async def test_a_choice_that_makes_no_sense_is_told(opened: Opener, line: str) -> None:
    async with opened(troubled()) as screen:
        await screen.press("colon", *line, "enter")
        assert any(
            word in screen.text for word in ("there is no", "which order", "takes no argument")
        )
        assert len(_order(screen)) == 5


async def test_a_node_is_opened_by_its_name(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.press("colon", *"node n077", "enter")
        assert screen.app.view is View.NODE
        assert " Node n077 of lab" in screen.text


async def test_the_choices_are_remembered(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.press("v", "U", "S", "slash", *"n00", "enter")
        memory = _view(screen).memory()
    assert memory == {
        "mode": "table", "metric": "memory", "sort": "name", "problems": False,
        "filter": "n00", "clusters": [],
    }  # fmt: skip
    async with opened(large()) as screen:
        view = _view(screen)
        view.recall(memory)
        await screen.press("j")
        view._again()
        await screen.pulse()
        assert "by name" in screen.text
        assert "10 of 128 shown" in screen.text
        view.recall({"mode": 3, "metric": None, "sort": [], "filter": 1, "clusters": "x"})
        assert view.memory()["sort"] == "name"


# ------------------------------------------------------------------------ lines


async def test_the_lines_say_what_is_wrong_and_what_happened(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = Happening(WALL, "node", "bad", "gpu02 was lost", "lab", "gpu02")
    async with opened(troubled()) as screen:
        monkeypatch.setattr(
            screen.app.house,
            "observe",
            lambda frame: dataclasses.replace(frame, happenings=(event,)),
        )
        screen.app.pulse(force=True)
        await screen.settle()
        lines = screen.text.splitlines()
        assert any("✖ gpu02 ssh ada@gpu02.lab" in line for line in lines)
        assert any("⚑ 08:53:20 gpu02 was lost" in line for line in lines)
        assert "gpu02 of lab" in lines[-3]


async def test_alerts_take_lines_that_would_be_blank(opened: Opener) -> None:
    def broken(count: int, names: str) -> Fleet:
        away = replace(
            AWAY, why="a reason that takes most of a line of this terminal, and more" * 2
        )
        return _fleet(*(node(f"{names}{n:03d}", link=away, age=None) for n in range(count)))

    def told(screen: Screen) -> list[str]:
        rows = screen.text.splitlines()
        return [row for row in rows if row.startswith(" ✖ ") and "a reason" in row]

    async with opened(broken(5, "n")) as screen:
        assert [row[3:7] for row in told(screen)] == ["n000", "n001", "n002"]
        assert "+2 more" in told(screen)[-1]
        screen.source.change(nodes=healthy().nodes)
        await screen.pulse()
        assert told(screen) == []
        assert "nothing is wrong" in screen.text
    async with opened(broken(140, "n"), size=(60, 15)) as screen:
        assert len(_view(screen)._alerts.text_lines) == 1
        assert "+139 more" in screen.text


async def test_nodes_of_several_clusters_are_told_apart(opened: Opener) -> None:
    twins = [
        replace(node(f"node{n}", link=AWAY if n == 2 else node("x").link), cluster=cluster)
        for cluster in ("lab1", "lab2")
        for n in (1, 2)
    ]
    names = [f"{each.cluster}/{each.name}" for each in twins]
    async with opened(_fleet(*twins)) as screen:
        assert all(f"{name} " in screen.text for name in names)
        assert "✖ lab2/node2 ssh" in screen.text
        await screen.press("v")
        assert all(name in screen.text for name in names)
        await screen.press("colon", *"fleet @lab1", "enter")
        assert "lab1/node1" not in screen.text
        assert "✖ node2 ssh" in screen.text


async def test_the_mean_of_ten_minutes_grows_with_time(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await _pass(screen, 3)
        assert "▄▄▄▄ 10 min" in screen.text.splitlines()[1]


async def test_the_ten_minutes_are_seen_whatever_view_is_on_the_screen(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2")
        await _pass(screen, 4)
        await screen.press("1")
        assert "▄▄▄▄▄ 10 min" in screen.text.splitlines()[1]


async def test_bars_of_ten_minutes_are_fewer_where_there_is_less_room(opened: Opener) -> None:
    async with opened(healthy(), size=(200, 36)) as screen:
        await _pass(screen, 59)
        assert "▄" * 60 + " 10 min" in screen.text.splitlines()[1]
        await screen.resize(120, 36)
        title = screen.text.splitlines()[1]
        assert " ▄▄▄▄" in title
        assert title.rstrip().endswith("▄ 10 min")
        assert title.count("▄") < 60


async def test_a_small_terminal_still_says_what_hides_nodes(opened: Opener) -> None:
    async with opened(large(), size=(60, 15)) as screen:
        await screen.press("slash", *"n00", "enter")
        assert "filter n00" in screen.text.splitlines()[1]


async def test_a_resize_draws_everything_anew(opened: Opener) -> None:
    async with opened(large(), size=(80, 24)) as screen:
        await screen.resize(120, 36)
        assert "n127" in screen.text
        await screen.resize(60, 15)
        assert "n000" in screen.text
