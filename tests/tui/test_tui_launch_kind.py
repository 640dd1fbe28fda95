"""What the launch form runs: what the job profile says it is, until something else is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from launch_world import FakePad, config
from tui_screen import Opener, Screen
from tui_world import healthy

from cockpit.errors import UsageError
from cockpit.profiles import Config, JobProfile
from cockpit.tui.launch import drafts
from cockpit.tui.launch.pad import Draft
from cockpit.tui.launch.wording import defaults, heading
from cockpit.tui.live.launching import write_profile
from cockpit.tui.widgets.chooser import Chooser


def _config() -> Config:
    base = config()
    tool = JobProfile(
        name="tool", cluster="lab", launcher="plain", command=("make", "data set"), working_dir="/d"
    )
    part = JobProfile(name="part", cluster="lab", module="pkg.train", working_dir="/d")
    plain = msgspec.structs.replace(base.launchers["torchrun"], name="plain", kind="command")
    return msgspec.structs.replace(
        base,
        jobs={**base.jobs, "tool": tool, "part": part},
        launchers={**base.launchers, "plain": plain},
    )


def _row(screen: Screen, word: str) -> str:
    return next(row for row in screen.text.split("\n") if row.strip().startswith(word))


async def test_the_form_shows_what_a_profile_runs_and_follows_another_profile(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.config = _config()
        screen.source.launchpad = FakePad(screen.source)
        await screen.command("launch tool")
        assert "‹ command ›" in _row(screen, "what")
        assert "make 'data set'" in _row(screen, "to run")
        assert "Launch tool" in screen.text
        job = screen.app.screen.query_one("#job", Chooser)
        job.choose("part")
        await screen.shows("Launch part")
        assert "‹ module ›" in _row(screen, "what")
        assert "Launch tool" not in screen.text
        job.choose("")
        await screen.shows("Launch a new job")
        assert "‹ script ›" in _row(screen, "what")


async def test_another_kind_asks_which_and_the_plan_runs_it(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.config = _config()
        screen.source.launchpad = FakePad(screen.source)
        await screen.command("launch part")
        await screen.shows("cockpit run -j part")
        screen.app.screen.query_one("#kind", Chooser).choose("script")
        await screen.shows("which script? part runs a module")
        assert "cockpit run -j part" not in screen.text
        assert "pkg.train" not in _row(screen, "✖   to run")
        screen.app.screen.query_one("#target").focus()
        await screen.press(*"other.py")
        await screen.shows("cockpit run -j part --script other.py")


@pytest.mark.parametrize(
    ("draft", "kind", "target"),
    [
        (Draft(job="tool"), None, None),
        (Draft(job="tool", kind="command"), None, None),
        (Draft(job="tool", target="ls"), "command", "ls"),
        (Draft(job="part", target="pkg.other"), "module", "pkg.other"),
        (Draft(job="part", target="t.py", kind="script"), "script", "t.py"),
        (Draft(target="t.py"), "script", "t.py"),
    ],
)
def test_what_is_named_is_of_the_profiles_kind_unless_told(
    draft: Draft, kind: str | None, target: str | None
) -> None:
    asked, problems = drafts.read(draft, _config())
    assert problems == {}
    assert (asked.kind, asked.target) == (kind, target)


def test_a_profile_is_not_saved_while_nobody_knows_what_it_shall_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which module"):
        write_profile(_config(), Draft(job="tool", kind="module"), "x", tmp_path / "c.toml")


def test_the_default_of_a_field_is_not_that_of_another_kind() -> None:
    assert defaults(Draft(job="part"), _config())["target"] == "pkg.train"
    assert defaults(Draft(job="part", kind="script"), _config())["target"] == ""


def test_the_heading_is_about_what_is_chosen_now() -> None:
    assert heading(Draft()) == "Launch a new job"
    assert heading(Draft(job="a"), kept=True) == "Launch a · as you left it"
    assert heading(Draft(job="a"), "b") == "Launch b again"
