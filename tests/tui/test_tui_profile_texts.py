"""Values as typed into forms and back, editors and their lines, paths in short: no terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cockpit.profiles import Cluster, JobProfile, Launcher, NodeSpec, SecretRef, Source
from cockpit.profiles.checking import fields
from cockpit.tui.places import place, short
from cockpit.tui.profile.editing import at_line
from cockpit.tui.profile.text import HIDDEN, choices, field_text, field_value, toml_text


def typed(record: type, key: str, text: str, before: object = None) -> object:
    return field_value(text, fields(record)[key].type, before)


@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        (Cluster, "user", "ada lovelace"),
        (Cluster, "port", 22),
        (Cluster, "sync", False),
        (Cluster, "connect_timeout", 7.5),
        (Cluster, "nodes", ["gpu[01-04].lab", "b"]),
        (Cluster, "nodes", ["a", {"host": "b", "gpus": 8}]),
        (Cluster, "env", {"A": "1", "B": "two 'words' \"x\"", "C": ""}),
        (Cluster, "secrets", {"T": {"cmd": ["pass", "x y"]}}),
        (Cluster, "ssh_config", []),
        (Launcher, "rdzv_conf", {"read_timeout": 60}),
        (Launcher, "rank_section_timeouts", {"step": 1.5}),
        (JobProfile, "nodes", "2:4"),
        (JobProfile, "nodes", 4),
        (JobProfile, "nproc_per_node", "auto"),
        (JobProfile, "args", ["--cfg", "a b", "", "[x]", "{y}", "back\\slash", "#no"]),
        (JobProfile, "metrics", {"loss": "loss=([0-9]+) x"}),
        (JobProfile, "env", {}),
    ],
)
def test_what_a_form_shows_stands_for_the_same_value(record: type, key: str, value: object) -> None:
    assert typed(record, key, field_text(value)) == value


def test_hidden_values_stay_what_they_were() -> None:
    before = {"API_TOKEN": "hush", "MODE": "fast"}
    text = field_text(before)
    assert text == f"API_TOKEN={HIDDEN} MODE=fast"
    assert typed(Cluster, "env", text.replace("fast", "slow"), before) == {
        "API_TOKEN": "hush",
        "MODE": "slow",
    }
    assert toml_text(before) == f'{{ API_TOKEN = "{HIDDEN}", MODE = "fast" }}'


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("env", "A", "'A' is not NAME=VALUE"),
        ("env", "A='x", "a quote has no end"),
        ("env", "{ A = }", "no valid TOML"),
        ("nodes", "[1,", "no valid TOML"),
        ("nodes", "'a", "a quote has no end"),
    ],
)
def test_what_cannot_be_read_is_said(key: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        typed(Cluster, key, text)


def test_text_that_is_no_number_goes_on_to_the_check() -> None:
    assert typed(Cluster, "port", "22x") == "22x"
    assert typed(Cluster, "sync", "maybe") == "maybe"


def test_few_words_are_offered() -> None:
    assert set(choices(fields(Launcher)["kind"].type)) == {"torchrun", "ft", "command"}
    assert choices(fields(Cluster)["sync"].type) == ("true", "false")
    assert choices(fields(Cluster)["user"].type) == ()


def test_records_are_written_as_in_toml() -> None:
    from cockpit.tui.profile.rows import plain

    nodes = (NodeSpec(name="a", host="a"), NodeSpec(name="b", host="b.lab", gpus=8))
    assert toml_text(plain(nodes)) == '["a", { name = "b", host = "b.lab", gpus = 8 }]'
    assert toml_text(plain(SecretRef(env="HF"))) == '{ env = "HF" }'


def test_editors_are_told_the_line_in_their_own_way() -> None:
    file = Path("/x/cockpit.toml")
    assert at_line(["vim"], file, 7) == ["vim", "+7", "/x/cockpit.toml"]
    assert at_line(["/usr/bin/nano", "-w"], file, 7)[-2:] == ["+7", "/x/cockpit.toml"]
    assert at_line(["hx"], file, 7) == ["hx", "/x/cockpit.toml:7"]
    assert at_line(["code"], file, 7) == ["code", "--wait", "--goto", "/x/cockpit.toml:7"]
    assert at_line(["ed"], file, 7) == ["ed", "/x/cockpit.toml"]
    assert at_line(["vim"], file, 0) == ["vim", "/x/cockpit.toml"]


def test_paths_are_short_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert place(Source(file="/p/cockpit.toml", line=3), "/p") == "./cockpit.toml:3"
    assert short(Path("/home/ada/.config/cockpit/cockpit.toml"), "/p") == (
        "~/.config/cockpit/cockpit.toml"
    )
    assert short(Path("/etc/cockpit.toml"), "") == "/etc/cockpit.toml"
