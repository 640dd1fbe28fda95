"""Nothing that people came to read ends in an ellipsis, and nothing is offered that cannot be."""

from __future__ import annotations

import msgspec
import pytest
from profile_world import FakeDesk
from tui_screen import LOADED, Opener, Screen
from tui_world import WALL, healthy, job, node

from cockpit.model.doctor import Finding, Level, Report
from cockpit.model.types import Fleet
from cockpit.protocol.records import JobRecord
from cockpit.tui.draw import themes
from cockpit.tui.draw.spans import Span, line, plain, width_of
from cockpit.tui.fleet.condition import Roster
from cockpit.tui.fleet.gauges import Gauge
from cockpit.tui.fleet.order import Sort, in_order
from cockpit.tui.frame import Frame
from cockpit.tui.jobs.describe import folded
from cockpit.tui.profile.dialogs import NodeLine
from cockpit.tui.profile.dialogs import folded as folded_nodes


def _read(screen: Screen) -> str:
    """The text of the dialog, without its frame and without breaks."""
    return " ".join(screen.text.replace("│", " ").replace("❯", " ").split())


def test_what_is_folded_stands_behind_the_words_at_the_left() -> None:
    row = line(Span("argv         ", "dim"), " ".join(f"--option{n}" for n in range(12)))
    rows = folded(row, 60)
    assert len(rows) > 1
    assert all(width_of(each.spans) <= 60 for each in rows)
    assert all(plain(each.spans).startswith(" " * 13) for each in rows[1:])
    assert " ".join("".join(plain(each.spans) for each in rows).split()) == " ".join(
        plain(row.spans).split()
    )
    assert folded(row, 1_000) == [row]


async def test_a_long_command_line_is_described_to_its_end(opened: Opener) -> None:
    words = ("torchrun", *(f"--option-{n}=/data/value/{n}" for n in range(20)), "the-last-word")
    record = JobRecord(
        id="llama-1a2b", name="llama", created_at=WALL, created_by="ada", cluster="lab",
        launcher="ddp", kind="torchrun", min_nodes=2, max_nodes=2, nproc_per_node=2, command=words,
        argv=words, env={}, secrets={}, working_dir="/w", code=None, max_restarts=0, grace=1.0,
    )  # fmt: skip
    async with opened(Fleet(revision=1, jobs=(job(),)), size=(80, 24)) as screen:
        screen.source.records["llama-1a2b"] = record
        await screen.press("2", "d")
        seen = _read(screen)
        await screen.press("pagedown", "pagedown")
        assert "the-last-word" in seen + _read(screen)
        assert "--option-3=/data/value/3 --option-4" in seen
        await screen.resize(120, 36)
        assert "the-last-word" in _read(screen)


async def test_the_hints_of_a_connect_test_are_read_to_their_end(opened: Opener) -> None:
    hint = "start an ssh agent and add the key, or name an identity_file that is there and readable"

    async def test(cluster: str) -> Report:
        finding = Finding(
            node="local", check="link", level=Level.CRIT, message="Permission denied", hint=hint
        )
        return Report(findings=(finding,))

    async with opened(healthy(), size=(80, 24)) as screen:
        desk = FakeDesk(screen.source)
        desk.test = test  # type: ignore[method-assign]
        screen.source.profiles = desk
        await screen.press("5")
        screen.app.keeper.go("local")
        await screen.press("D")
        await screen.shows("1 error")
        assert f"link: Permission denied — {hint}" in _read(screen)
        assert "…" not in screen.text


def test_the_rest_of_a_finding_has_rows_of_its_own() -> None:
    (first, second) = folded_nodes([NodeLine("n", "✖", "bad", "one two three", "k")], 8)
    assert (first.node, first.mark, first.text.strip(), first.key) == ("n", "✖", "one two", "k")
    assert (second.node, second.mark, second.text.strip()) == ("", "", "three")
    assert second.key != first.key


@pytest.mark.parametrize(("view", "offered"), [("2", True), ("5", False)])
async def test_a_filter_is_offered_only_where_something_can_be_filtered(
    opened: Opener, view: str, offered: bool
) -> None:
    async with opened(healthy()) as screen:
        screen.source.profiles = FakeDesk(screen.source)
        await screen.press(view)
        footer = screen.text.split("\n")[-1]
        assert ("filter" in footer) is offered


async def test_several_warnings_at_the_start_are_one_notice_and_each_an_event(
    opened: Opener,
) -> None:
    failed = tuple(themes.ThemeFailure(f"/x/{n}.toml", "primary: missing") for n in range(3))
    loaded = themes.ThemeLoadResult(LOADED.loaded, failed)
    async with opened(healthy(), loaded=loaded) as screen:
        assert screen.said == ["3 warnings: `:events` has them"]
        await screen.command("events")
        for n in range(3):
            assert f"theme /x/{n}.toml: primary: missing" in screen.text


def test_by_name_is_by_the_name_that_is_shown() -> None:
    names = (("beta", "n1"), ("alpha", "n10"), ("alpha", "n9"), ("alpha2", "n1"))
    nodes = tuple(msgspec.structs.replace(node(name), cluster=cluster) for cluster, name in names)
    items = Roster().items(
        Frame(Fleet(revision=1, nodes=nodes), 5_000.0, WALL), frozenset(), paces=False
    )
    ordered = [item.called for item in in_order(items, Sort.NAME, next(iter(Gauge)))]
    assert ordered == ["alpha/n9", "alpha/n10", "alpha2/n1", "beta/n1"]
