"""From a tone and the theme's tokens to the style that a terminal understands. Pure.

Not done with Textual's component classes: their number times the number of widgets is matched
against the whole stylesheet at every start and change of focus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.style import Style
from textual.color import Color

from cockpit.tui.draw.spans import HEAT_STEPS, RANK_COLOURS


class Tone(NamedTuple):
    """Names of tokens, "" for none; `emphasis` is a token's name or words like "bold"."""

    colour: str = ""
    background: str = ""
    emphasis: str = ""


TONES: dict[str, Tone] = {
    "": Tone(),
    "dim": Tone("tone-dim", emphasis="tone-dim-style"),
    "strong": Tone(emphasis="bold"),
    "title": Tone("tone-title", emphasis="bold"),
    "accent": Tone("tone-accent"),
    "key": Tone("tone-key", emphasis="bold"),
    "ok": Tone("state-ok"),
    "busy": Tone("state-busy"),
    "warn": Tone("state-warn"),
    "bad": Tone("state-bad", emphasis="bold"),
    "stale": Tone("state-stale", emphasis="state-stale-style"),
    "match": Tone("tone-accent", emphasis="bold underline"),
    "cursor": Tone(background="row-cursor", emphasis="row-cursor-style"),
    "bar": Tone(background="bar"),
    **{f"heat{step}": Tone(f"heat-{step}") for step in range(HEAT_STEPS)},
    **{f"rank{number}": Tone(f"rank-{number}") for number in range(RANK_COLOURS)},
}
"""Every tone. "cursor" and "bar" are for whole lines."""


def style_of(tone: str, tokens: Mapping[str, str]) -> Style:
    """What `tone` adds to the style beneath it."""
    colour, background, emphasis = TONES[tone]
    colours = Style(
        color=Color.parse(tokens[colour]).rich_color if colour else None,
        bgcolor=Color.parse(tokens[background]).rich_color if background else None,
    )
    return colours + Style.parse(tokens.get(emphasis, emphasis) or "none")
