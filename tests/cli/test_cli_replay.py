"""`--replay`, `record` and `demo --nodes` where they cannot do what was asked: words and codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def cockpit(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cockpit", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--replay", "nowhere"), "there is nothing to replay at"),
        (("--replay", "notes.txt"), "is no journal of a job"),
        (("--replay", "events.jsonl"), "needs a terminal"),
        (("--speed", "10"), "give --replay FILE too"),
        (("--replay", "events.jsonl", "--speed", "0.1"), "0.25<=x<=1000"),
        (("--replay", "events.jsonl", "ps"), "does not go with `ps`"),
        (("demo", "--nodes", "128"), "needs a terminal"),
        (("demo", "--nodes", "128", "--headless"), "only be looked at on the screen"),
        (("demo", "--nodes", "1"), "2<=x<=256"),
        (("demo", "--gpus", "4"), "give --nodes too"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    event = {"seq": 0, "at": 1.0, "mono": 1.0, "kind": "claimed", "job": "0123456789ab"}
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + "\n")
    done = cockpit(*words, cwd=tmp_path)
    assert done.returncode == 64
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
