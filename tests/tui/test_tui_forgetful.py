"""Made-up fleets and replays leave alone what the cockpit remembers of a person's own clusters."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from tui_pty import ROOT, Terminal

COCKPIT = ROOT / "cockpit" / "__main__.py"
REMEMBERED = {
    "theme": "cockpit-light",
    "view": "jobs",
    "views": {"fleet": {"filter": "nothing-is-called-so"}, "jobs": {"sort": "name"}},
}


@pytest.mark.parametrize("made_up", ["fleet", "replay"])
def test_what_is_made_up_neither_takes_nor_changes_the_views_of_real_days(
    made_up: str, tmp_path: Path
) -> None:
    state = tmp_path / "state" / "cockpit" / "screen.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps(REMEMBERED))
    event = {"seq": 0, "at": 1.76e9, "mono": 0.0, "kind": "claimed", "host": "n000"}
    event |= {"job": "j", "attempt": 0, "node_rank": 0}
    journal = tmp_path / "events.jsonl"
    journal.write_text(json.dumps(event) + "\n")
    words = {"fleet": ("demo", "--nodes", "4"), "replay": ("--replay", str(journal))}[made_up]
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    with contextlib.closing(Terminal(COCKPIT, *words, **home)) as terminal:
        terminal.read_until(b"n000")
        terminal.press(b"1")
        terminal.read_until(b"n000")
        terminal.press(b"2")
        terminal.read_until(b"sort: state")
        terminal.press(b"S")
        terminal.read_until(b"newest")
        assert terminal.leave() == 0
    assert json.loads(state.read_text()) == REMEMBERED
