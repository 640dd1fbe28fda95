"""What was typed becomes one request; the command line that is told asks for the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cockpit import profiles
from cockpit.errors import UsageError
from cockpit.profiles import Asked, Cluster, Config, JobProfile, NodeSpec

NODES = tuple(NodeSpec(name=name, host=name) for name in ("a", "b", "c"))
LAB = Cluster(name="lab", nodes=NODES, spares=(NodeSpec(name="s", host="s"),), sync=False)


@pytest.fixture
def config() -> Config:
    base = profiles.builtin()
    job = JobProfile(
        name="llama", cluster="lab", script="train.py", args=("--cfg", "70b"), nodes=2,
        working_dir="/data", env={"SEED": "1"}, metrics={"loss": "loss=(.*)"},
    )  # fmt: skip
    return msgspec.structs.replace(
        base, clusters={**base.clusters, "lab": LAB}, jobs={"llama": job}
    )


def asked(**what: Any) -> Asked:
    return Asked(cluster="lab", **what)


def names(config: Config, what: Asked) -> list[str]:
    return [spec.name for spec in profiles.ask(config, what).request.nodes]


def test_words_behind_a_job_profile_are_further_arguments(config: Config) -> None:
    for what in (
        Asked(job="llama", target="--lr", args=("1",)),
        Asked(job="llama", args=("--lr", "1")),
    ):
        request = profiles.ask(config, what).request
        assert (request.script, request.args) == ("train.py", ("--cfg", "70b", "--lr", "1"))


def test_a_target_of_a_kind_replaces_what_the_profile_runs(config: Config) -> None:
    request = profiles.ask(
        config, Asked(job="llama", kind="script", target="eval.py", args=("-x",))
    ).request
    assert request.asked == ("eval.py", "-x")
    assert request.env["SEED"] == "1"
    request = profiles.ask(config, Asked(job="llama", kind="command", target="ls", args=("-l",)))[0]
    assert request.asked == ("ls", "-l")


def test_nothing_to_run_is_about_the_target(config: Config) -> None:
    with pytest.raises(UsageError) as caught:
        profiles.ask(config, asked())
    assert caught.value.about == "target"


@pytest.mark.parametrize(
    ("what", "about"),
    [
        ({"job": "lama"}, "job"),
        ({"launcher": "none"}, "launcher"),
        ({"nodes": 4}, "nodes"),
        ({"nodes": "2:1"}, "nodes"),
        ({"on": ("a", "x")}, "on"),
        ({"without": ("x",)}, "without"),
        ({"nproc_per_node": "all"}, "nproc_per_node"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"env": {"1": "x"}}, "env"),
        ({"name": "\x07"}, "name"),
        ({"args": ("\0",)}, "args"),
        ({"working_dir": "a\0"}, "working_dir"),
        ({"kind": "module", "target": "a-b"}, "target"),
    ],
)
def test_an_error_says_what_it_is_about(config: Config, what: dict[str, Any], about: str) -> None:
    with pytest.raises(UsageError) as caught:
        profiles.ask(config, asked(**{"target": "t.py", **what}))
    assert caught.value.about == about


def test_which_nodes_may_take_part(config: Config) -> None:
    assert names(config, asked(target="t.py")) == ["a", "b", "c"]
    assert names(config, asked(target="t.py", without=("a",))) == ["b", "c"]
    assert names(config, asked(target="t.py", spares=True)) == ["a", "b", "c", "s"]
    # A spare that is named is wanted, whatever is said of the others.
    assert names(config, asked(target="t.py", on=("c", "s"))) == ["c", "s"]
    request = profiles.ask(config, asked(target="t.py", on=("c", "b"))).request
    assert (request.min_nodes, request.max_nodes) == (2, 2)
    request = profiles.ask(config, asked(target="t.py", on=("c", "b"), nodes="1:2")).request
    assert (request.min_nodes, request.max_nodes) == (1, 2)
    with pytest.raises(UsageError, match="of which 2 may take part") as caught:
        profiles.ask(config, asked(target="t.py", nodes=3, without=("b",)))
    assert caught.value.about == "nodes"
    assert len(names(config, asked(target="t.py", nodes=3, without=("b",), spares=True))) == 3


def test_names_and_ranges_of_nodes() -> None:
    assert profiles.node_names(" gpu[01-02,09], b\n c,, b") == ("gpu01", "gpu02", "gpu09", "b", "c")
    assert profiles.node_names("") == ()
    with pytest.raises(UsageError, match="runs backwards"):
        profiles.node_names("n[3-1]")


@pytest.mark.parametrize(
    "what",
    [
        Asked(target="train.py", args=("--lr", "1 e", "-m")),
        Asked(job="llama", args=("--lr", "1")),
        Asked(job="llama", nodes="1:2", on=("a", "b"), without=("c",), spares=True),
        Asked(job="llama", kind="script", target="-odd.py", args=("x",)),
        Asked(cluster="lab", launcher="torchrun", kind="module", target="pkg.train"),
        Asked(cluster="lab", kind="command", target="ls", nproc_per_node="1", name="a job"),
        Asked(target="t.py", env={"A": "x y", "B": ""}, max_restarts=3, preflight=False),
        Asked(target="t.py", working_dir="/tmp"),
    ],
)
def test_the_command_line_that_is_told_asks_for_the_same(
    config: Config, what: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cockpit.cli import run

    for name in ("train.py", "-odd.py", "t.py"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    heard: list[Asked] = []
    monkeypatch.setattr(profiles, "ask", lambda _, said: heard.append(said))
    words = profiles.command_line(what, ())
    assert words[:2] == ("cockpit", "run")
    options = run.run.make_context("run", list(words[2:])).params
    run._request(config, options)
    monkeypatch.undo()
    told = heard[0]
    # A job profile's further words may be called target and arguments, or arguments alone.
    if what.target is None and told.target is not None:
        told = msgspec.structs.replace(told, target=None, args=(told.target, *told.args))
    if what.kind is None or (what.kind == "script" and what.job is None):
        told = msgspec.structs.replace(told, kind=what.kind)
    told = msgspec.structs.replace(
        told,
        nproc_per_node=None if told.nproc_per_node is None else str(told.nproc_per_node),
    )
    assert told == what


def test_the_command_line_has_no_values_of_secrets() -> None:
    what = Asked(target="t.py", env={"HF_TOKEN": "geheim", "PLAIN": "geheim2", "A": "1"})
    words = profiles.command_line(what, ["PLAIN"])
    assert words == ("cockpit", "run", "-e", "HF_TOKEN", "-e", "PLAIN", "-e", "A=1", "t.py")


def test_a_profile_that_is_made_of_what_was_asked_asks_for_the_same(
    config: Config, tmp_path: Path
) -> None:
    what = Asked(
        job="llama", nodes="1:2", args=("--lr", "1"), env={"HF_TOKEN": "x", "SEED": "2"},
        max_restarts=4,
    )  # fmt: skip
    values = profiles.profile_values(config, what, str(tmp_path))
    assert values == {
        "cluster": "lab",
        "launcher": "torchrun",
        "nodes": "1:2",
        "nproc_per_node": "auto",
        "script": "train.py",
        "args": ["--cfg", "70b", "--lr", "1"],
        "working_dir": "/data",
        "max_restarts": 4,
        "env": {"SEED": "2"},
        "secrets": {"HF_TOKEN": {"env": "HF_TOKEN"}},
        "metrics": {"loss": "loss=(.*)"},
    }
    assert profiles.profile_values(config, Asked(job="llama"), "/data")["working_dir"] == "."
