"""Themes: what ships is right, a bad file stops nothing, NO_COLOR means no colour."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.theme import BUILTIN_THEMES, Theme
from tui_screen import LOADED, Opener
from tui_world import healthy

from cockpit.errors import ExitCode, UsageError
from cockpit.tui import themes
from cockpit.tui.tones import TONES, style_of

TRUECOLOR = {"COLORTERM": "truecolor", "TERM": "xterm-256color"}


def test_all_shipped_themes_load_and_give_every_tone_a_style() -> None:
    assert LOADED.failed == ()
    assert set(LOADED.loaded) == {"cockpit-dark", "cockpit-light", "cockpit-ansi"}
    for theme in (*LOADED.loaded.values(), *BUILTIN_THEMES.values()):
        tokens = {**themes.defaults(theme), **theme.variables}
        for tone in TONES:
            style_of(tone, tokens)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("primary = ", "Invalid value"),
        ("dark = true", "primary: missing"),
        ('primary = "mauvish"', "primary: 'mauvish' is no colour"),
        ("primary = 7", "primary: must be a colour"),
        ('primary = "#fff"\nprimery = "#000"', "primery: unknown key, did you mean primary?"),
        ('primary = "#fff"\ndark = "yes"', "dark: must be true or false"),
        ('primary = "#fff"\nname = "a b"', "name: must be a word"),
        ('primary = "#fff"\nvariables = 3', "variables: must be a table"),
        ('primary = "#fff"\n[variables]\nheat-8 = "#fff"', "did you mean heat-"),
        ('primary = "#fff"\n[variables]\nheat-1 = "hot"', "variables.heat-1: 'hot' is no colour"),
        ('primary = "#fff"\n[variables]\ntone-dim-style = "tiny"', "must be made of bold"),
    ],
)
def test_a_bad_file_is_named_with_its_reason_and_the_others_load(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "bad.toml").write_text(text)
    (tmp_path / "good.toml").write_text('primary = "#abcdef"\n[variables]\nheat-0 = "red"\n')
    result = themes.load([tmp_path, tmp_path / "missing"])
    assert list(result.loaded) == ["good"]
    assert [failure.file for failure in result.failed] == [str(tmp_path / "bad.toml")]
    assert complaint in result.failed[0].message


def test_bytes_that_are_no_text_and_unreadable_files_are_failures_too(tmp_path: Path) -> None:
    (tmp_path / "bin.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.toml").mkdir()
    assert len(themes.load([tmp_path]).failed) == 2


def test_a_users_theme_replaces_a_shipped_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "cockpit-dark.toml").write_text('primary = "#010203"')
    result = themes.load([themes.shipped_folder(), tmp_path])
    assert result.loaded["cockpit-dark"].primary == "#010203"


@pytest.mark.parametrize(
    ("wanted", "environ", "chosen"),
    [
        (None, TRUECOLOR, "cockpit-dark"),
        ("cockpit-light", TRUECOLOR, "cockpit-light"),
        ("nord", TRUECOLOR, "nord"),
        (None, {**TRUECOLOR, "NO_COLOR": "1"}, "cockpit-ansi"),
        ("cockpit-light", {**TRUECOLOR, "NO_COLOR": "1"}, "cockpit-ansi"),
        (None, {**TRUECOLOR, "NO_COLOR": ""}, "cockpit-dark"),
        (None, {"TERM": "linux"}, "cockpit-ansi"),
        ("cockpit-light", {"TERM": "linux"}, "cockpit-light"),
        (None, {"TERM": "xterm-256color"}, "cockpit-dark"),
        (None, {"TERM": "vt220"}, "cockpit-ansi"),
    ],
)
def test_the_theme_follows_the_terminal(
    wanted: str | None, environ: dict[str, str], chosen: str
) -> None:
    assert themes.choose(wanted, LOADED.loaded, environ) == chosen


def test_without_any_file_textuals_own_themes_do() -> None:
    assert themes.choose(None, {}, TRUECOLOR) == "textual-dark"
    assert themes.choose(None, {}, {**TRUECOLOR, "NO_COLOR": "1"}) == "ansi-dark"


def test_a_theme_that_is_not_there_is_a_usage_error_with_the_nearest_names() -> None:
    with pytest.raises(UsageError) as caught:
        themes.choose("cockpit-drak", LOADED.loaded, TRUECOLOR)
    assert "cockpit-dark" in caught.value.hint
    assert caught.value.exit_code is ExitCode.USAGE


async def test_a_bad_theme_is_told_on_the_screen(opened: Opener) -> None:
    failed = (themes.ThemeFailure("/x/[bad].toml", "primary: missing"),)
    loaded = themes.ThemeLoadResult(LOADED.loaded, failed)
    async with opened(healthy(), loaded=loaded) as screen:
        assert screen.said == ["theme /x/[bad].toml: primary: missing"]


async def test_every_theme_can_be_walked_through_and_changes_colours(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        grid = screen.app.query_one("#fleet-grid")
        seen = set()
        for _ in LOADED.loaded:
            await screen.press("T")
            seen.add(str([segment.style for segment in grid.render_line(1)]))
        assert len(seen) == len(LOADED.loaded)
        assert screen.app.theme == "cockpit-dark"


async def test_no_color_leaves_attributes_and_shapes_only(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(healthy()) as screen:
        strips = screen.app.screen._compositor.render_strips()
        for strip in strips:
            for segment in strip:
                style = segment.style
                assert style is None or style.color is None or style.color.is_default
                assert style is None or style.bgcolor is None or style.bgcolor.is_default
        assert any(s.style and s.style.reverse for strip in strips for s in strip)


def test_a_theme_of_someone_else_gets_tokens_from_its_main_colours() -> None:
    tokens = themes.defaults(Theme(name="x", primary="#111111", success="#00ff00"))
    assert tokens["state-ok"] == "#00ff00"
    assert tokens["tone-title"] == "#111111"
