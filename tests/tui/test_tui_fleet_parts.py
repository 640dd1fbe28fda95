"""The pure parts of the Fleet view: conditions, gauges, cells, order, filters, scopes, lines."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tui_world import AWAY, MONO, WALL, gpus, job, job_node, node, ranks

from cockpit.errors import UsageError
from cockpit.model.types import Fleet, Gpu, Job, Link, LinkState, Node
from cockpit.tui.draw.spans import Line, Span, plain, width_of
from cockpit.tui.fleet import lines as fleetlines
from cockpit.tui.fleet.alerts import Alert
from cockpit.tui.fleet.cell import (
    AROUND,
    CellPainter,
    paint,
    room,
    short_age,
    short_name,
    short_place,
)
from cockpit.tui.fleet.condition import Condition, NodeItem, Roster, condition_of
from cockpit.tui.fleet.gauges import FIGURE, Gauge, figure, short_rate, values, watts
from cockpit.tui.fleet.heatwall import SPARE, layout
from cockpit.tui.fleet.order import EVERY, HOLD, LazyOrder, Sort, described, in_order, sifted
from cockpit.tui.fleet.scope import Scope, parse
from cockpit.tui.frame import Frame
from cockpit.tui.house.happenings import Happening
from cockpit.tui.sifting import Sift
from cockpit.tui.widgets.bars import heat, mean

replace = msgspec.structs.replace
NOWHERE: frozenset[str] = frozenset()


def items(*nodes: Node, jobs: tuple[Job, ...] = ()) -> list[NodeItem]:
    frame = Frame(Fleet(revision=1, nodes=nodes, jobs=jobs), MONO, WALL)
    return Roster().items(frame, NOWHERE, paces=True)


def item(made: Node, jobs: tuple[Job, ...] = ()) -> NodeItem:
    return items(made, jobs=jobs)[0]


# ------------------------------------------------------------------- conditions


def test_every_condition_has_a_shape_of_its_own() -> None:
    assert len({each.glyph for each in Condition}) == len(Condition)
    assert len({each.word for each in Condition}) == len(Condition)


@pytest.mark.parametrize(
    ("made", "condition"),
    [
        (node("a"), Condition.OK),
        (node("a", age=9), Condition.STALE),
        (node("a", age=None), Condition.UNKNOWN),
        (node("a", link=AWAY), Condition.UNREACHABLE),
        (node("a", link=Link(), age=None), Condition.CONNECTING),
        (node("a", link=Link(state=LinkState.RECONNECTING)), Condition.RECONNECTING),
        (replace(node("a"), health="warn"), Condition.WARN),
        (replace(node("a"), health="crit"), Condition.SICK),
        (replace(node("a", age=60), health="crit"), Condition.STALE),
    ],
)
def test_a_node_is_in_the_condition_that_matters_most(made: Node, condition: Condition) -> None:
    assert item(made).condition is condition


def test_a_node_with_a_straggler_is_worth_a_look() -> None:
    place = job_node(0)
    slow = replace(place, ranks=(replace(place.ranks[0], straggler=True),))
    lagging = replace(job(nodes=(slow,)), flags=("straggler",))
    found = item(node("gpu01"), (lagging,))
    assert (found.condition, found.lagging) == (Condition.WARN, (0,))
    assert condition_of(node("gpu01"), 0) is Condition.OK


def test_a_roster_shows_only_the_chosen_clusters() -> None:
    nodes = (node("a"), replace(node("b"), cluster="prod"))
    frame = Frame(Fleet(revision=1, nodes=nodes), MONO, WALL)
    shown = Roster().items(frame, frozenset(("prod",)), paces=False)
    assert [each.key for each in shown] == ["prod/b"]


# ----------------------------------------------------------------------- gauges


def test_each_gauge_has_bars_and_a_short_figure() -> None:
    place = replace(
        job_node(0, count=8),
        ranks=tuple(replace(r, step_time=0.25 + 0.05 * r.local_rank) for r in ranks(0, 8)),
    )
    made = item(node("gpu01"), (job(nodes=(place,)),))
    told = {gauge: figure(gauge, made, mean(values(gauge, made))) for gauge in Gauge}
    assert told == {
        Gauge.UTIL: "84%",
        Gauge.MEMORY: "94%",
        Gauge.POWER: "5.3kW",
        Gauge.TEMPERATURE: "64°C",
        Gauge.RATE: "1.7/s",
    }
    assert all(len(values(gauge, made)) == 8 for gauge in Gauge)
    assert values(Gauge.RATE, made)[0] == 1.0


def test_what_is_not_known_is_no_figure() -> None:
    blind = item(replace(node("a"), gpus=(Gpu(index=0), Gpu(index=1))))
    for gauge in Gauge:
        assert set(values(gauge, blind)) == {None}
        assert figure(gauge, blind, mean(values(gauge, blind))) == "--"


@given(st.floats(min_value=1e-9, max_value=1e9), st.floats(min_value=0, max_value=9e5))
def test_figures_never_take_more_room_than_they_have(step_time: float, power: float) -> None:
    assert len(short_rate(step_time)) <= FIGURE
    assert len(watts(power)) <= FIGURE


# ------------------------------------------------------------------------ cells


def _cell(made: NodeItem, width: int = 24, gauge: Gauge = Gauge.UTIL) -> str:
    return plain(paint(made, width, gauge))


def test_a_cell_shows_name_bars_figure_and_shape() -> None:
    assert _cell(item(node("n007")), 22) == " n007 ▇▇▇▆▆▆▆▆   84%● "


def test_stale_cells_keep_their_heights_without_heat_and_say_their_age() -> None:
    spans = paint(item(node("n007", age=200, level=80)), 22, Gauge.UTIL)
    assert plain(spans) == " n007 ▆▆▆▅▅▅▅▅    3m? "
    assert not [span for span in spans if span.tone.startswith("heat")]
    assert "0%" not in plain(spans)


def test_unreachable_cells_are_crossed_out() -> None:
    seen = replace(node("n007", age=41), link=AWAY)
    assert _cell(item(seen), 22) == " n007 ✖✖✖✖✖✖✖✖   41s✖ "
    never = items(node("n007", link=AWAY, age=None), node("b"))[0]
    assert _cell(never, 22) == " n007 ✖✖✖✖✖✖✖✖   41s✖ "


def test_lost_gpus_missing_gpus_and_unknown_figures_look_different() -> None:
    lost = tuple(replace(gpu, state="lost") if gpu.index == 2 else gpu for gpu in gpus(4, 94))
    assert "▇▇✖▆" in _cell(item(replace(node("a"), gpus=lost)))
    assert "no gpu" in _cell(items(replace(node("a"), gpus=()), node("b"))[0])
    assert " --   " in _cell(items(replace(node("a"), gpus=(), gpu_error="x"), node("b"))[0])
    assert "··" in _cell(item(replace(node("a"), gpus=(Gpu(index=0), Gpu(index=1)))))


def test_words_in_a_cell_are_whole_or_not_there() -> None:
    for count, no_figures, no_gpus in (
        (4, "--", "none"),
        (8, "--", "no gpu"),
        (16, "no figures", "no gpu"),
    ):
        others = node("b", count=count)
        blind = items(replace(node("a"), gpus=(), gpu_error="x"), others)[0]
        bare = items(replace(node("a"), gpus=()), others)[0]
        width = AROUND + count + 4
        assert _cell(blind, width)[6 : 6 + count].rstrip() == no_figures
        assert _cell(bare, width)[6 : 6 + count].rstrip() == no_gpus


def test_a_place_loses_its_middle_and_keeps_what_tells_it_apart() -> None:
    assert short_place("lab2", "node2", 12) == "lab2/node2  "
    assert short_place("lab2", "node2", 10) == "lab2/node2"
    assert short_place("lab2", "node2", 9) == "l…2/node2"
    assert short_place("lab2", "node2", 7) == "l…2/…e2"
    assert short_place("cluster-one", "gpu-node-0017", 20) == "cl…one/gpu-node-0017"


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 40))
def test_a_place_has_exactly_its_width(cluster: str, name: str, width: int) -> None:
    cluster, name = ("".join(c for c in t if c.isprintable()) for t in (cluster, name))
    assert cell_len(short_place(cluster, name, width)) == width


def test_cells_of_several_clusters_have_names_that_differ_however_narrow() -> None:
    twins = [
        replace(node(f"node{n}"), cluster=cluster) for cluster in ("lab1", "lab2") for n in (1, 2)
    ]
    made = items(*twins)
    least, _ = room(made)
    assert len({_cell(each, least).split()[0] for each in made}) == len(made)
    assert [each.called for each in items(*twins[:2])] == ["node1", "node2"]


def test_made_up_figures_are_marked_in_their_cell() -> None:
    assert _cell(item(node("a", simulated=True))).rstrip().endswith("s")


def test_sixteen_gpus_have_a_bar_each_and_more_share() -> None:
    sixteen = item(node("a", count=16, level=100))
    assert room([sixteen]) == (AROUND + 16 + 4, AROUND + 16 + 4)
    assert len(_cell(sixteen, 40)) == 40
    assert "▇▇▇▆▆▆▆▆▆▆▆▆▆▆▅▅"[:3] in _cell(sixteen, 40)
    many = item(node("a", count=40, level=100))
    assert room([many])[1] == AROUND + 16 + 4
    assert cell_len(_cell(many, 40)) == 40


def test_neighbours_of_one_tone_are_one_span() -> None:
    same = tuple(replace(gpu, utilization=95.0) for gpu in gpus(8, 94))
    spans = paint(item(replace(node("a"), gpus=same)), 24, Gauge.UTIL)
    assert [span.text.strip() for span in spans] == ["a", "▇▇▇▇▇▇▇▇   95%●"]


@given(
    st.text(max_size=40),
    st.integers(20, 60),
    st.sampled_from(list(Gauge)),
    st.integers(0, 20),
    st.sampled_from([None, 0.5, 100.0]),
)
def test_a_cell_has_exactly_its_width_whatever_it_holds(
    name: str, width: int, gauge: Gauge, count: int, age: float | None
) -> None:
    made = item(node("".join(c for c in name if c.isprintable()), count=count, age=age))
    least, _ = room([made])
    assert width_of(paint(made, max(width, least), gauge)) == max(width, least)


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [("n1", 4, "n1  "), ("gpu-node-0017", 6, "…-0017"), ("節点一二三", 6, "節点 …")],
)
def test_of_a_long_name_the_end_is_kept(name: str, width: int, shown: str) -> None:
    assert short_name(name, width) == shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(9, "9s"), (200, "3m"), (7200, "2h"), (900_000, "10d")]
)
def test_ages_in_cells_have_one_unit(seconds: int, text: str) -> None:
    assert short_age(seconds) == text


def test_a_cell_is_drawn_anew_only_when_its_node_or_the_way_of_drawing_changed() -> None:
    painter = CellPainter()
    made = item(node("a"))
    first = painter.draw(made, 22)
    assert painter.draw(made, 22) is first
    again = made._replace(age=1)
    assert painter.draw(again, 22) is first
    assert painter.draw(made._replace(age=9, condition=Condition.STALE), 22) != first
    assert painter.draw(made, 23) != first
    painter.gauge = Gauge.MEMORY
    assert painter.draw(made, 22) != first
    changed = item(node("a", level=12))
    painter.gauge = Gauge.UTIL
    assert painter.draw(changed, 22) != first


# ----------------------------------------------------------------------- layout


@pytest.mark.parametrize(
    ("count", "width", "height", "columns"),
    [(128, 120, 28, 5), (128, 80, 16, 3), (20, 120, 28, 5), (5, 60, 10, 2)],
)
def test_the_wall_has_as_many_columns_as_fit(
    count: int, width: int, height: int, columns: int
) -> None:
    placed = layout(count, width, height, 22, 23)
    assert placed.columns == columns
    assert placed.columns * placed.width <= width
    assert placed.columns * placed.rows >= count


def test_long_names_give_way_where_that_shows_all_nodes() -> None:
    assert layout(128, 120, 28, 20, 34).columns == 5
    assert layout(60, 120, 28, 20, 34).columns == 3
    assert layout(9, 120, 28, 20, 20).width <= 20 + SPARE


# ------------------------------------------------------------------------ order


def test_problems_come_first_and_the_rest_stays_in_place() -> None:
    made = items(
        node("n1"), node("n2", age=30), node("n3"), node("n4", link=AWAY),
        replace(node("n5"), health="warn"), replace(node("n6"), health="crit"),
    )  # fmt: skip
    order = [each.node.name for each in in_order(made, Sort.PROBLEMS, Gauge.UTIL)]
    assert order == ["n4", "n6", "n2", "n5", "n1", "n3"]


def test_names_are_in_their_natural_order() -> None:
    made = items(node("n10"), node("n9"), node("N1"), node("n9a"), node(""))
    order = [each.node.name for each in in_order(made, Sort.NAME, Gauge.UTIL)]
    assert order == ["", "N1", "n9", "n9a", "n10"]


def test_the_highest_figure_comes_first_and_what_is_old_last() -> None:
    made = items(node("low", level=30), node("old", level=99, age=60), node("high", level=90))
    for gauge in (Gauge.UTIL, Gauge.MEMORY, Gauge.POWER, Gauge.TEMPERATURE):
        order = [each.node.name for each in in_order(made, Sort.METRIC, gauge)]
        assert order == ["high", "low", "old"]


def test_rows_do_not_change_place_while_the_cursor_is_in_use() -> None:
    order = LazyOrder()
    calm, trouble = items(node("a"), node("b")), items(node("a"), node("b", age=60))

    def names(made: list[NodeItem], now: float) -> list[str]:
        arranged = order.arrange(made, Sort.PROBLEMS, Gauge.UTIL, now)
        return [each.node.name for each in arranged]

    assert names(calm, 0) == ["a", "b"]
    assert names(trouble, EVERY - 1) == ["a", "b"]
    order.disturbed(EVERY)
    assert names(trouble, EVERY + HOLD - 1) == ["a", "b"]
    assert names(trouble, EVERY + HOLD + 1) == ["b", "a"]
    assert [
        each.node.name for each in order.arrange(trouble, Sort.NAME, Gauge.UTIL, EVERY + HOLD + 1)
    ] == ["a", "b"]


def test_a_new_node_finds_its_place_without_moving_the_others_under_the_cursor() -> None:
    order = LazyOrder()
    order.arrange(items(node("a"), node("b")), Sort.PROBLEMS, Gauge.UTIL, 0)
    order.disturbed(1.0)
    made = items(node("new", age=60), node("a"), node("b"))
    assert [each.node.name for each in order.arrange(made, Sort.PROBLEMS, Gauge.UTIL, 2.0)] == [
        "a", "b", "new",
    ]  # fmt: skip
    assert order.arrange(made, Sort.PROBLEMS, Gauge.UTIL, 20.0)[0].node.name == "new"


# ---------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", {"gpu01", "gpu02", "gpu03"}),
        ("GPU01", {"gpu01"}),
        ("down", {"gpu02"}),
        ("!down", {"gpu01", "gpu03"}),
        ("stale", {"gpu03"}),
        ("h100 llama", {"gpu01"}),
        ("free", {"gpu02", "gpu03"}),
        ("/gpu0[13]/", {"gpu01", "gpu03"}),
        ("!/gpu0[13]", {"gpu02"}),
        ("/(", {"gpu01", "gpu02", "gpu03"}),
        ("[rank0]", set()),
    ],
)
def test_filters_look_at_name_cluster_jobs_models_health_and_link(
    pattern: str, names: set[str]
) -> None:
    made = items(
        node("gpu01"), node("gpu02", link=AWAY, age=None), node("gpu03", age=9.0),
        jobs=(job(nodes=(job_node(0),)),),
    )  # fmt: skip
    assert {each.node.name for each in sifted(made, Sift(pattern), False)} == names


def test_a_broken_expression_says_so_and_hides_nothing() -> None:
    sift = Sift("/(")
    assert sift.error.startswith("not a regular expression")
    assert not sift
    assert Sift("/x/").error == ""


def test_only_problems_are_left_when_that_is_wished() -> None:
    made = items(node("a"), node("b", age=9.0), node("c", link=Link(), age=None))
    assert [each.node.name for each in sifted(made, Sift(), True)] == ["b"]
    assert "connecting" in described(made[2])


@pytest.mark.parametrize(
    ("argument", "scope"),
    [
        ("", Scope()),
        ("@lab", Scope(frozenset(("lab",)))),
        ("@lab,@b /down", Scope(frozenset(("lab", "b")), "down")),
        ("@lab @b h100 free", Scope(frozenset(("lab", "b")), "h100 free")),
        ("@l", Scope(frozenset(("lab",)))),
        ("@*", Scope(frozenset())),
        ("/down", Scope(None, "down")),
        ("/n0[12]/", Scope(None, "/n0[12]/")),
        ("!down", Scope(None, "!down")),
    ],
)
def test_one_line_carries_clusters_and_filter(argument: str, scope: Scope) -> None:
    assert parse(argument, ["lab", "b", "prod"]) == scope


def test_a_cluster_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no cluster prd") as error:
        parse("@prd", ["lab", "prod"])
    assert error.value.hint == "did you mean @prod?"


# ------------------------------------------------------------------------ lines


def test_the_trend_of_ten_minutes_has_gaps_where_nothing_was_known() -> None:
    assert fleetlines.trend([]) == []
    assert plain(fleetlines.trend([0.99, None, 0.0])) == "▇·▁ 10 min"


def test_the_trend_takes_the_room_that_a_line_leaves_or_none() -> None:
    taken = Line((Span("x" * 40),))
    assert fleetlines.trend_room(60, taken) == 60 - 40 - len(" 10 min") - 2
    assert fleetlines.trend_room(50, taken) == 0
    assert fleetlines.trend_room(20, taken) == 0


def test_the_alert_line_shows_what_there_is_room_for_and_counts_the_rest() -> None:
    wrong = [Alert("bad", "✖", f"gpu{n:02d} gone") for n in range(9)]
    (line,) = _wrong(wrong, 60)
    assert line == " ✖ gpu00 gone · ✖ gpu01 gone · ✖ gpu02 gone · +6 more"
    assert "+" not in _wrong(wrong[:3], 60)[0]
    for width in range(20, 200):
        for row in fleetlines.alert_lines(wrong, width, 3):
            assert width_of(row.spans) <= width
    long = [Alert("bad", "✖", "x" * 300), *wrong]
    assert _wrong(long, 60)[0].endswith("x… · +9 more")
    assert "nothing is wrong" in _wrong([], 60)[0]


def test_alerts_go_on_in_the_next_line_where_there_is_one() -> None:
    wrong = [Alert("bad", "✖", f"gpu{n:02d} gone") for n in range(9)]
    assert _wrong(wrong, 40, 3) == [
        " ✖ gpu00 gone · ✖ gpu01 gone",
        " ✖ gpu02 gone · ✖ gpu03 gone",
        " ✖ gpu04 gone · ✖ gpu05 gone · +3 more",
    ]
    long = [Alert("bad", "✖", "x" * 300), Alert("warn", "▲", "slow")]
    assert [len(each) for each in _wrong(long, 60, 3)] == [60, 7]


def _wrong(alerts: list[Alert], width: int, height: int = 1) -> list[str]:
    return [plain(row.spans) for row in fleetlines.alert_lines(alerts, width, height)]


def test_the_event_line_is_newest_first_and_of_the_chosen_clusters() -> None:
    events = [
        Happening(WALL, "started", "ok", "old", cluster="lab"),
        Happening(WALL + 1, "end", "ok", "elsewhere", cluster="prod"),
        Happening(WALL + 2, "note", "ok", "everywhere"),
    ]
    told = plain(fleetlines.event_line(events, frozenset(("lab",))).spans)
    assert told.index("everywhere") < told.index("old")
    assert "elsewhere" not in told
    assert fleetlines.event_line([], NOWHERE).spans == ()


def test_heat_is_on_one_scale_for_all_fleets() -> None:
    low = paint(item(node("a", level=0)), 24, Gauge.UTIL)
    assert heat(0.0) in {span.tone for span in low}
    alone = paint(item(node("a", level=50, count=1)), 24, Gauge.UTIL)
    among = paint(items(node("a", level=50, count=1), node("b", level=100))[0], 28, Gauge.UTIL)
    assert {s.tone for s in alone} == {s.tone for s in among}
