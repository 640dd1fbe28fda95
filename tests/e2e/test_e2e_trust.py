"""Host keys from the command line: unknown, trusted after a yes, changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.lab import Lab
from tests.harness.sshd import Sshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]

RUN = ("run", "-c", "lab", "-l", "plain", "train.py")


@pytest.fixture
def stranger(tmp_path: Path, make_sshd: Callable[..., Sshd]) -> Lab:
    """A node whose key nobody has seen."""
    lab = Lab(tmp_path, [make_sshd("node0")])
    (tmp_path / "known_hosts").unlink()
    lab.script("print('trusted', flush=True)\n")
    return lab


def test_an_unknown_key_is_refused_shown_and_remembered_after_a_yes(stranger: Lab) -> None:
    refused = stranger.run(*RUN)
    assert refused.returncode == 77
    assert "cockpit trust" in refused.stderr
    asked = stranger.run("trust", "-c", "lab")
    assert asked.returncode != 0
    assert not (stranger.folder / "known_hosts").exists()
    yes = stranger.run("trust", "-c", "lab", "--yes")
    assert yes.returncode == 0, yes.stderr
    assert re.search(r"node0 .*SHA256:\S+ +unknown", yes.stdout)
    done = stranger.run(*RUN)
    assert done.returncode == 0, done.stderr
    assert "trusted" in done.stdout


def test_a_changed_key_stops_and_is_never_written(stranger: Lab) -> None:
    stranger.run("trust", "-c", "lab", "--yes")
    before = (stranger.folder / "known_hosts").read_text()
    node = stranger.nodes[0]
    node.stop_listening()
    node.new_host_key()
    node.start()
    refused = stranger.run(*RUN)
    assert refused.returncode == 77
    assert "changed" in refused.stderr.lower()
    assert len(set(re.findall(r"SHA256:[A-Za-z0-9+/]+", refused.stderr))) == 2
    trust = stranger.run("trust", "-c", "lab", "--yes")
    assert trust.returncode == 77
    assert "CHANGED" in trust.stderr
    assert (stranger.folder / "known_hosts").read_text() == before
