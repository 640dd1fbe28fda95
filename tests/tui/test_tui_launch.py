"""The launch form by its keys: fill it, see the plan, be told what is wrong, save, launch."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from launch_world import LAB, FakePad, broken, config, refused
from tui_screen import Opener, Screen
from tui_world import healthy, node

from cockpit.model.types import Fleet
from cockpit.tui.actions import View
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.launch import form as launchform
from cockpit.tui.launch.form import LaunchForm
from cockpit.tui.launch.picks import LeaveDialog, NameDialog, NodesDialog, OptionDialog, ReadDialog
from cockpit.tui.launch.progress import LaunchProgress
from cockpit.tui.widgets.reader import Reader


class Desk:
    """A screen and the pad of its source."""

    def __init__(self, screen: Screen, pad: FakePad) -> None:
        self.screen = screen
        self.pad = pad

    async def until(self, done: Callable[[], bool]) -> None:
        await self.screen.until(done)

    async def shows(self, text: str) -> None:
        await self.screen.shows(text)

    @property
    def form(self) -> LaunchForm:
        return next(s for s in self.screen.app.screen_stack if isinstance(s, LaunchForm))

    async def type(self, field: str, text: str) -> None:
        self.form._rows[field].entry.focus()
        await self.screen.press(*text)

    async def planned(self) -> None:
        await self.until(lambda: "^j starts" in self.screen.text)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchform, "DELAY", 0.01)
    monkeypatch.setattr(launchform, "PREFLIGHT_DELAY", 0.01)


@asynccontextmanager
async def launching(
    opened: Opener, fleet: Fleet | None = None, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[Desk]:
    async with opened(fleet or healthy(), size=size) as screen:
        screen.source.config = config()
        screen.source.launchpad = pad = FakePad(screen.source)
        yield Desk(screen, pad)


async def test_a_job_profile_fills_the_form_and_its_real_plan_is_shown(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n")
        await desk.shows("Choose a job profile, or type what to run.")
        assert "✖ nothing" not in desk.screen.text
        await desk.screen.press("right")
        await desk.planned()
        assert "job llama on lab, launcher torchrun" in desk.screen.text
        assert "cockpit run -j llama" in desk.screen.text
        assert "3 files · 4.0K · 8f21c0" in desk.screen.text
        await desk.shows("checks ✔ link 2/2")
        desk.screen.frozen.passed += 90
        await desk.screen.pulse()
        desk.form._refresh()
        await desk.shows("checks 1m30s ago ✔ link 2/2")
        assert len(desk.pad.asked) == 1
        assert [spec.name for spec in desk.pad.asked[0].nodes[:2]] == ["gpu01", "gpu02"]


async def test_from_scratch_and_secrets_stay_secret(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n")
        await desk.type("cluster", "la")
        for field, text in (("nodes", "1:2"), ("target", "train.py"), ("args", "--lr '1 e'")):
            desk.form._rows[field].put(text)
        desk.form._rows["env"].put("S=7\nHF_TOKEN=xyz")
        await desk.planned()
        assert "xyz" not in desk.screen.text
        assert "HF_TOKEN=***" in desk.screen.text
        preview = desk.form._now.preview
        assert preview is not None
        request = preview.request
        assert (request.min_nodes, request.max_nodes) == (1, 2)
        assert (request.script, request.args) == ("train.py", ("--lr", "1 e"))
        assert request.env["S"] == "7"
        assert preview.given == {"HF_TOKEN": "xyz"}
        assert "xyz" not in preview.text
        assert preview.command == (
            "cockpit", "run", "-c", "lab", "--nodes", "1:2", "-e", "S=7", "-e", "HF_TOKEN",
            "train.py", "--lr", "1 e",
        )  # fmt: skip


WRONG = (
    ("nodes", "9", "9 nodes were asked for"),
    ("nodes", "x", "'x' is no number of nodes"),
    ("on", "gpu77", "there is no node of lab called 'gpu77'"),
    ("without", "gpu[01-", "its brackets do not match"),
    ("nproc_per_node", "many", "'many' is no number of ranks per node"),
    ("args", "'open", "a quote is not closed"),
    ("env", "1A=2", "'1A' is no name of an environment variable"),
    ("max_restarts", "-1", "'-1' is no number of restarts"),
)


async def test_an_error_stands_at_its_field_and_nothing_can_be_launched(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        rows = desk.form._rows
        for field, typed, said in WRONG:
            rows[field].put(typed)
            await desk.until(lambda field=field: rows[field]._trouble is not None)
            trouble = rows[field]._trouble
            assert trouble is not None
            assert said in trouble.message
            assert [n for n, row in rows.items() if row._trouble is not None] == [field]
            assert "1 field to put right" in desk.screen.text
            rows[field].put("")
            await desk.planned()
        rows["nodes"].put("9")
        await desk.shows("1 field to put right")
        await desk.screen.press("ctrl+j")
        assert desk.screen.said[-1] == "not yet: 1 field to put right, marked ✖"
        assert desk.pad.launched == []


async def test_several_fields_that_are_wrong_are_all_marked(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "right")
        desk.form._rows["args"].put("'")
        desk.form._rows["max_restarts"].put("many")
        desk.form._rows["nodes"].put("7")
        await desk.shows("3 fields to put right")


async def test_a_launch_says_how_it_goes_and_leads_to_the_job(opened: Opener) -> None:
    async with launching(opened) as desk:
        desk.pad.gate.clear()
        await desk.screen.press("n", "right")
        await desk.planned()
        await desk.screen.press("ctrl+j")
        await desk.shows("gpu01: uploading 4.1 kB")
        assert isinstance(desk.screen.app.screen, LaunchProgress)
        assert desk.screen.app.launching.busy == "llama is being started"
        desk.pad.gate.set()
        await desk.until(lambda: desk.screen.app.view is View.JOB)
        assert len(desk.screen.app.screen_stack) == 1
        shown = desk.screen.app.shown_job
        assert shown is not None
        assert shown.id == "llama-1a2b"
        [(preview, in_spite)] = desk.pad.launched
        assert preview.request.name == "llama"
        assert not in_spite
        assert desk.screen.app.launching.busy == ""


async def test_a_refused_launch_tells_of_each_node_and_the_form_stays(opened: Opener) -> None:
    async with launching(opened) as desk:
        desk.pad.failure = refused()
        await desk.screen.press("n", "right")
        await desk.planned()
        await desk.type("name", "mine")
        await desk.planned()
        await desk.screen.press("ctrl+j")
        await desk.shows("install torch there")
        assert "gpu01  no torch there" in desk.screen.text
        await desk.screen.press("escape")
        assert desk.screen.app.screen is desk.form
        assert desk.form.draft.name == "mine"
        await desk.planned()
        assert "install torch there" in desk.screen.text
        desk.pad.failure = None
        await desk.screen.press("ctrl+j")
        await desk.until(lambda: desk.screen.app.view is View.JOB)


async def test_a_start_can_be_given_up(opened: Opener) -> None:
    async with launching(opened) as desk:
        desk.pad.gate.clear()
        await desk.screen.press("n", "right")
        await desk.planned()
        await desk.screen.press("ctrl+j")
        await desk.shows("Give up (g)")
        await desk.screen.press("g")
        await desk.shows("the start was given up; nothing runs")
        await desk.screen.press("enter")
        assert desk.screen.app.screen is desk.form


async def test_a_start_whose_dialog_was_closed_goes_on_and_its_failure_is_kept(
    opened: Opener,
) -> None:
    async with launching(opened) as desk:
        desk.pad.gate.clear()
        desk.pad.failure = refused()
        await desk.screen.press("n", "right")
        await desk.planned()
        await desk.screen.press("ctrl+j")
        await desk.shows("Give up (g)")
        await desk.screen.press("escape")
        await desk.until(lambda: len(desk.screen.app.screen_stack) == 1)
        await desk.screen.press("n")
        await desk.shows("llama is being started")
        await desk.screen.press("escape")
        desk.pad.gate.set()
        await desk.until(lambda: "llama was not started" in desk.screen.said)
        await desk.screen.press("n")
        await desk.shows("install torch there")
        await desk.planned()


async def test_what_a_node_objects_to_needs_a_second_yes(opened: Opener) -> None:
    async with launching(opened) as desk:
        desk.pad.report = broken()
        await desk.screen.press("n", "right")
        await desk.shows("1 objection")
        await desk.screen.press("ctrl+j")
        assert isinstance(desk.screen.app.screen, ConfirmDialog)
        assert "gpu01: no torch" in desk.screen.text
        await desk.screen.press("enter")
        assert desk.pad.launched == []
        await desk.screen.press("ctrl+j", "right", "enter")
        await desk.until(lambda: bool(desk.pad.launched))
        assert desk.pad.launched[0][1] is True


async def test_a_pad_that_cannot_plan_says_why(opened: Opener) -> None:
    async with launching(opened) as desk:
        desk.pad.unplanned = refused()
        await desk.screen.press("n", "right")
        await desk.shows("✖ job llama was not started anywhere")
        await desk.screen.press("ctrl+r", "ctrl+g", "ctrl+t")
        assert len(desk.screen.said) == 3


async def test_nothing_is_launched_before_its_plan_was_seen(opened: Opener) -> None:
    async with launching(opened, size=(80, 24)) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        plan = desk.form.query_one(Reader)
        assert not plan.display
        await desk.screen.press("ctrl+j")
        await desk.shows("job llama on lab")
        assert desk.pad.launched == []
        await desk.screen.press("ctrl+j")
        await desk.until(lambda: bool(desk.pad.launched))


@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
async def test_every_field_is_reached_and_seen_on_a_small_terminal(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with launching(opened, size=size) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        for row in desk.form._rows.values():
            assert desk.screen.app.focused is row.entry
            assert row.field.label.strip() in desk.screen.text
            await desk.screen.press("down")
        focused = desk.screen.app.focused
        assert focused is not None
        assert focused.id == "launch-leave"
        assert "Launch ^j" in desk.screen.text
        await desk.screen.press("up", "ctrl+o")
        assert "cockpit run -j llama" in desk.screen.text
        assert "job profile" not in desk.screen.text
        await desk.screen.press("escape")
        assert "restarts" in desk.screen.text or "job profile" in desk.screen.text


async def test_the_field_that_is_filled_stays_in_sight_when_one_above_it_grows(
    opened: Opener,
) -> None:
    async with launching(opened, size=(60, 15)) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        rows = desk.form._rows
        seen = [row for row in rows.values() if row.field.label.strip() in desk.screen.text]
        last = seen[-1]
        last.entry.focus()
        await desk.screen.settle()
        rows["nodes"].put("x")
        await desk.until(lambda: rows["nodes"]._trouble is not None)
        assert desk.screen.app.focused is last.entry
        assert "'x' is no number of nodes" in desk.screen.text
        assert last.field.label.strip() in desk.screen.text


async def test_a_plan_or_a_check_that_another_replaces_before_it_began_leaves_nothing_behind(
    opened: Opener, recwarn: pytest.WarningsRecorder
) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        for _ in range(2):
            desk.form._look()
            desk.form._ask()
        await desk.planned()
        gc.collect()
    assert [str(each.message) for each in recwarn] == [], "no coroutine that nobody awaited"


async def test_leaving_asks_only_if_something_was_typed_and_keeps_it(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "escape")
        assert len(desk.screen.app.screen_stack) == 1
        await desk.screen.press("n")
        desk.form._rows["args"].put("--lr 1")
        await desk.screen.settle()
        await desk.screen.press("escape")
        assert isinstance(desk.screen.app.screen, LeaveDialog)
        await desk.screen.press("enter")
        assert desk.screen.app.screen is desk.form
        await desk.screen.press("escape", "k")
        assert len(desk.screen.app.screen_stack) == 1
        await desk.screen.press("n")
        assert desk.form.draft.args == "--lr 1"
        assert "as you left it" in desk.screen.text
        await desk.type("args", "0")
        await desk.screen.press("escape", "d", "n")
        assert desk.form.draft.args == ""


async def test_a_draft_is_saved_as_a_job_profile(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "right")
        await desk.type("max_restarts", "3")
        await desk.screen.press("ctrl+s")
        assert isinstance(desk.screen.app.screen, NameDialog)
        assert "There is a job profile llama" in desk.screen.text
        await desk.screen.press("2", "enter")
        await desk.until(lambda: bool(desk.pad.saved))
        [(draft, name)] = desk.pad.saved
        assert (name, draft.job, draft.max_restarts) == ("llama2", "llama", "3")
        await desk.until(lambda: "saved as job profile llama2" in str(desk.screen.said))
        await desk.screen.press("ctrl+s", "slash", "enter")
        await desk.until(lambda: "not saved" in str(desk.screen.said))


async def test_the_dry_run_is_the_whole_plan(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        await desk.screen.press("ctrl+r")
        assert isinstance(desk.screen.app.screen, ReadDialog)
        reader = desk.screen.app.screen.query_one(Reader)
        preview = desk.form._now.preview
        assert preview is not None
        text = ["".join(span.text for span in row.spans) for row in reader.shown]
        assert text == preview.text.split("\n")
        await desk.screen.press("G")
        assert "--cfg" in desk.screen.text
        await desk.screen.press("escape")
        assert desk.screen.app.screen is desk.form


async def test_the_command_that_asks_for_the_same_is_copied(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with launching(opened) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        await desk.screen.press("ctrl+g")
        await desk.until(lambda: "copied the command" in str(desk.screen.said))
    [kept] = tmp_path.glob("cockpit-copied-*")
    assert kept.read_text() == "cockpit run -j llama"


async def test_nodes_are_picked_as_they_are_now(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        await desk.screen.press("ctrl+n")
        assert isinstance(desk.screen.app.screen, NodesDialog)
        assert "runs llama, ablate" in desk.screen.text
        assert "gpu09 (spare)" in desk.screen.text
        await desk.screen.press("x", "o", "space", "enter")
        assert (desk.form.draft.on, desk.form.draft.without) == ("gpu02,gpu03", "gpu01")
        await desk.planned()
        preview = desk.form._now.preview
        assert preview is not None
        assert {spec.name for spec in preview.request.nodes} == {"gpu02", "gpu03"}
        await desk.screen.press("ctrl+n", "c", "enter")
        assert (desk.form.draft.on, desk.form.draft.without) == ("", "")


async def test_marked_nodes_are_those_that_the_job_shall_run_on(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("space", "space", "n")
        assert (desk.form.draft.cluster, desk.form.draft.on) == ("lab", "gpu01,gpu02")
        assert "as marked in Fleet" in desk.screen.text
        await desk.screen.press("escape")
        assert len(desk.screen.app.screen_stack) == 1


async def test_values_are_chosen_from_a_list(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("n", "enter")
        assert isinstance(desk.screen.app.screen, OptionDialog)
        assert "train.py on lab" in desk.screen.text
        await desk.screen.press("j", "enter")
        assert desk.form.draft.job == "llama"


async def test_a_job_is_launched_again_from_what_it_had_asked_for(opened: Opener) -> None:
    async with launching(opened) as desk:
        await desk.screen.press("2", "r")
        await desk.shows("Launch llama again")
        draft = desk.form.draft
        assert (draft.target, draft.args, draft.name) == ("train.py", "--config 70b.yaml", "llama")
        assert (draft.cluster, draft.nodes, draft.max_restarts) == ("lab", "2", "3")
        await desk.shows("launcher: there is no launcher called 'ddp'")


async def test_the_plan_moves_to_nodes_that_become_free(opened: Opener) -> None:
    async with launching(opened, Fleet(revision=1, nodes=healthy().nodes)) as desk:
        await desk.screen.press("n", "right")
        await desk.planned()
        first = desk.form._now.preview
        assert first is not None
        assert first.request.nodes[0].name == "gpu01"
        desk.screen.source.change(nodes=(*healthy().nodes[:2], node("gpu03", level=0)))
        await desk.screen.pulse()
        desk.form._refresh()
        await desk.until(
            lambda: (
                desk.form._now.preview is not None
                and desk.form._now.preview.request.nodes[0].name == "gpu03"
            )
        )
        assert "--on gpu03,gpu01" in desk.screen.text


async def test_a_source_that_launches_nothing_says_so(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("n")
        assert screen.said == ["Launch a new job…: this is a test"]


async def test_read_only_clusters_are_refused(opened: Opener) -> None:
    async with launching(opened) as desk:
        fixed = msgspec.structs.replace(LAB, name="prod", read_only=True)
        desk.screen.source.config = config(prod=fixed)
        await desk.screen.press("n", "right")
        await desk.type("cluster", "p")
        await desk.shows("cluster prod is read-only")
