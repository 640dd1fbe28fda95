"""Themes: what ships is right, a bad file stops nothing, NO_COLOR means no colour."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme
from tui_quiet import until
from tui_screen import LOADED, Opener
from tui_world import healthy

from cockpit.errors import ExitCode, UsageError
from cockpit.tui.draw import themes
from cockpit.tui.draw.tones import TONES, style_of
from cockpit.tui.house import themewatch

COLOURED = [name for name, theme in LOADED.loaded.items() if not theme.ansi]
STATES = ("ok", "busy", "warn", "bad", "stale")

# How the three kinds of cones' absence changes linear RGB (Machado, Oliveira and Fernandes, 2009,
# severity 1.0).
SEEN_BY = {
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
APART = 20.0
"""Least distance of two state colours in CIELAB; about ten times what can just be seen."""

TRUECOLOR = {"COLORTERM": "truecolor", "TERM": "xterm-256color"}


def test_all_shipped_themes_load_and_give_every_tone_a_style() -> None:
    assert LOADED.failed == ()
    assert set(LOADED.loaded) == {
        "cockpit-ansi",
        "cockpit-contrast",
        "cockpit-dark",
        "cockpit-light",
        "cockpit-safe-blueyellow",
        "cockpit-safe-redgreen",
    }
    for theme in (*LOADED.loaded.values(), *BUILTIN_THEMES.values()):
        tokens = {**themes.defaults(theme), **theme.variables}
        for tone in TONES:
            style_of(tone, tokens)


def tokens_of(name: str) -> dict[str, str]:
    theme = LOADED.loaded[name]
    plain = {"foreground": theme.foreground or "", "surface": theme.surface or ""}
    mine = {**themes.defaults(theme), **plain, "background": theme.background or ""}
    return {**mine, **theme.variables}


def linear(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of light, 0 to 1 (sRGB)."""

    def one(part: float) -> float:
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = Color.parse(colour).normalized
    return one(red), one(green), one(blue)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it, 1 to 21."""
    bright = sorted(
        sum(
            weight * part
            for weight, part in zip((0.2126, 0.7152, 0.0722), linear(each), strict=True)
        )
        for each in (one, other)
    )
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def lab(light: tuple[float, ...]) -> tuple[float, float, float]:
    """CIELAB of linear sRGB under D65."""
    red, green, blue = (min(max(part, 0.0), 1.0) for part in light)
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one: str, other: str, eyes: str) -> float:
    """How far two colours are from each other for such eyes."""

    def seen(colour: str) -> tuple[float, ...]:
        light = linear(colour)
        return tuple(
            sum(m * part for m, part in zip(row, light, strict=True)) for row in SEEN_BY[eyes]
        )

    return sum((a - b) ** 2 for a, b in zip(lab(seen(one)), lab(seen(other)), strict=True)) ** 0.5


def test_contrast_is_measured_as_everybody_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert apart("#ff0000", "#00b000", "tritan") > 3 * apart("#d04000", "#7a8000", "protan")


@pytest.mark.parametrize("name", COLOURED)
def test_text_stands_out_on_every_ground_that_it_is_drawn_on(name: str) -> None:
    tokens = tokens_of(name)
    least = 7.0 if name == "cockpit-contrast" else 4.5
    for ground in ("background", "bar", "row-cursor", "surface"):
        for token, colour in tokens.items():
            if token.endswith("-style"):
                continue
            if token.startswith(("state-", "tone-", "rank-", "foreground")):
                assert contrast(colour, tokens[ground]) >= least, (token, ground)
            if token.startswith("heat-"):
                assert contrast(colour, tokens[ground]) >= 3.0, (token, ground)


@pytest.mark.parametrize(
    ("name", "eyes"),
    [
        ("cockpit-safe-redgreen", "protan"),
        ("cockpit-safe-redgreen", "deutan"),
        ("cockpit-safe-blueyellow", "tritan"),
    ],
)
def test_states_are_told_apart_by_eyes_without_one_kind_of_cones(name: str, eyes: str) -> None:
    tokens = tokens_of(name)
    for one, other in itertools.combinations(STATES, 2):
        distance = apart(tokens[f"state-{one}"], tokens[f"state-{other}"], eyes)
        assert distance >= APART, (one, other)


@pytest.mark.parametrize("name", ["cockpit-safe-redgreen", "cockpit-safe-blueyellow"])
def test_heat_grows_without_a_step_back_for_the_eyes_it_is_made_for(name: str) -> None:
    eyes = "tritan" if "blue" in name else "deutan"
    tokens = tokens_of(name)
    cold = tokens["heat-0"]
    distances = [apart(cold, tokens[f"heat-{step}"], eyes) for step in range(8)]
    assert distances == sorted(distances)


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
            await screen.press("ctrl+t")
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


async def test_a_theme_is_chosen_by_name_on_the_command_line(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("colon", *"theme nord", "enter")
        assert screen.app.theme == "nord"
        assert "cockpit-safe-redgreen" in screen.app.house.theme_names()
        with pytest.raises(UsageError):
            screen.app.house.set_theme("mauve")
        assert screen.app.theme == "nord"


async def test_a_theme_file_that_changes_is_taken_up_and_a_broken_one_changes_nothing(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(themewatch, "PERIOD", 0.01)
    file = tmp_path / "mine.toml"
    file.write_text('primary = "#010203"')
    loaded = await asyncio.to_thread(themes.load, [tmp_path])
    async with opened(healthy(), loaded=loaded, theme_folders=[tmp_path], theme="mine") as screen:
        app = screen.app

        def primary() -> str:
            return app.theme_variables["tone-title"]

        assert primary() == "#010203"
        file.write_text('primary = "#a0b0c0"')
        await until(lambda: primary() == "#a0b0c0")
        await until(lambda: "theme mine was read again" in screen.said)
        file.write_text("primary = ")
        await until(lambda: any("Invalid value" in said for said in screen.said))
        assert primary() == "#a0b0c0"
        (tmp_path / "other.toml").write_text('primary = "#111111"')
        await until(lambda: "other" in app.available_themes)
        (tmp_path / "other.toml").unlink()
        await until(lambda: "other" not in app.available_themes)
        file.unlink()
        (tmp_path / "last.toml").write_text('primary = "#222222"')
        await until(lambda: "last" in app.available_themes)
        assert app.theme == "mine"
        assert sum("Invalid value" in said for said in screen.said) == 1


def test_only_the_theme_to_start_with_is_read_where_nobody_has_themes_of_their_own(
    tmp_path: Path,
) -> None:
    folders = [themes.shipped_folder(), tmp_path]
    colours = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    assert list(themes.load_first(folders, None, colours).loaded) == ["cockpit-dark"]
    assert list(themes.load_first(folders, "cockpit-light", colours).loaded) == ["cockpit-light"]
    assert list(themes.load_first(folders, "cockpit-light", {"NO_COLOR": "1"}).loaded) == [
        "cockpit-ansi"
    ]
    everything = themes.load(folders)
    assert themes.load_first(folders, "nord", colours) == everything
    (tmp_path / "own.toml").write_text('name = "cockpit-dark"\nprimary = "red"\n')
    assert themes.load_first(folders, None, colours) == themes.load(folders) != everything


async def test_the_other_themes_are_there_after_the_first_frame_in_the_order_of_their_files(
    opened: Opener,
) -> None:
    first = themes.ThemeLoadResult(
        {"cockpit-light": LOADED.loaded["cockpit-light"]}, (), complete=False
    )
    async with opened(healthy(), loaded=first, theme="cockpit-light") as screen:
        screen.app.house.themes.take(screen.app, LOADED)
        assert screen.app.house.themes.names == sorted(LOADED.loaded)
        assert set(LOADED.loaded) <= set(screen.app.available_themes)
        assert screen.said == []
