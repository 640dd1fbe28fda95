"""The pure parts of the launch form: what is read, what is masked, what is told, how it wraps."""

from __future__ import annotations

import pytest
from launch_world import LAB, broken, config, refused, sound
from tui_world import healthy, job, node

from cockpit.errors import CockpitError, UsageError
from cockpit.launchers import registry
from cockpit.model.choosing import candidates
from cockpit.model.types import Fleet
from cockpit.profiles import Asked, ask
from cockpit.protocol.records import JobRecord
from cockpit.tui.draw.spans import Line, Span, line, plain, width_of
from cockpit.tui.launch import drafts
from cockpit.tui.launch import wording as launchwords
from cockpit.tui.launch.pad import Draft
from cockpit.tui.live.relaunch import draft_of
from cockpit.tui.widgets.reader import wrapped


def texts(rows: list[Line]) -> list[str]:
    return [plain(row.spans) for row in rows]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("HF_TOKEN=abc", "HF_TOKEN=***"),
        ("HF_TOKEN", "HF_TOKEN"),
        ("SEED=7", "SEED=7"),
        ("TOKEN_FILE=/x", "TOKEN_FILE=/x"),
        (" API_KEY =é", " API_KEY =*"),
    ],
)
def test_what_looks_secret_is_shown_as_stars_of_the_same_width(typed: str, shown: str) -> None:
    assert drafts.masked(typed) == shown


def test_lines_of_variables_are_read_and_named_when_wrong() -> None:
    draft = Draft(target="t.py", env="A=1\n\n# no\n HOME ", args="--x 'y z'", max_restarts=" 2 ")
    asked, problems = drafts.read(draft, config(), {"HOME": "/h"})
    assert problems == {}
    assert asked.env == {"A": "1", "HOME": "/h"}
    assert (asked.args, asked.max_restarts) == (("--x", "y z"), 2)
    _, problems = drafts.read(draft._replace(env="A=1\nB"), config(), {})
    assert problems["env"].message == "line 2: B: the variable is not set here"


def test_hints_of_the_command_line_are_none_for_the_form() -> None:
    assert drafts.trouble(UsageError("x", "see --working-dir")).hint == ""
    assert drafts.trouble(UsageError("x", "did you mean lab?")).hint == "did you mean lab?"


def test_what_a_launcher_cannot_do_stands_at_its_field() -> None:
    settings = config()
    plain_launcher = settings.launchers["torchrun"].__class__(name="plain", kind="command")
    settings.launchers["plain"] = plain_launcher
    draft = Draft(cluster="lab", launcher="plain", target="t.py", nproc_per_node="4")
    checked = drafts.check(draft, settings, healthy())
    assert list(checked.problems) == ["nproc_per_node"]
    assert checked.request is None


def test_free_nodes_come_first_and_the_command_says_so() -> None:
    fleet = Fleet(revision=1, nodes=(node("gpu01"), node("gpu02", level=0), node("gpu03")))
    draft = Draft(cluster="lab", target="t.py", nodes="1")
    checked = drafts.check(draft, config(), fleet)
    assert checked.request is not None
    assert [spec.name for spec in checked.request.nodes] == ["gpu02", "gpu01", "gpu03"]
    assert "--on" in checked.command
    # Told by its command line, the same nodes take part, and as many of them.
    again = ask(config(), drafts.read(draft._replace(on="gpu02"), config())[0]).request
    assert (again.nodes, again.max_nodes) == (checked.request.nodes[:1], 1)
    quiet = Fleet(revision=1, nodes=tuple(node(f"gpu0{n}", level=0) for n in (1, 2, 3)))
    assert "--on" not in drafts.check(draft, config(), quiet).command


def test_what_is_free_is_one_line() -> None:
    fleet = Fleet(revision=1, nodes=(node("gpu01"), node("gpu02", level=0)), jobs=(job(),))
    note = launchwords.free_note(candidates(LAB, fleet))
    assert plain(note.spans) == (
        "○ 0 free · ? 1 unknown · ● 2 busy of 3 nodes · 8/16 GPUs idle · 1 spare, 0 free"
    )


def test_checks_are_counted_and_what_is_wrong_is_told_with_its_hint() -> None:
    assert texts(launchwords.check_lines(sound("a", "b"))) == ["checks ✔ link 2/2"]
    rows = texts(launchwords.check_lines(broken()))
    assert rows == ["checks ✖ torch 0/1", "✖ gpu01: no torch", "    install it"]
    assert launchwords.objections(broken()) == ["gpu01: no torch"]
    assert launchwords.objections(sound("a")) == launchwords.objections(None) == []


def test_a_failure_names_each_node_once() -> None:
    assert texts(launchwords.failure_lines(refused())) == [
        "✖ job llama was not started anywhere: gpu01 could not take part",
        "  gpu01  no torch there",
        "      install torch there",
    ]
    assert texts(launchwords.failure_lines(CockpitError("x", "y"))) == ["✖ x", "  y"]


def record(settings_of: Asked) -> JobRecord:
    request, _ = ask(config(), settings_of)
    plan = registry.plan(request)
    return JobRecord(
        id="j", name=request.name, created_at=0.0, created_by="ada", cluster=request.cluster.name,
        launcher=request.launcher.name, kind=plan.kind, min_nodes=request.min_nodes,
        max_nodes=request.max_nodes, nproc_per_node=request.nproc_per_node, command=request.asked,
        argv=plan.argv, env=plan.env, secrets=plan.secrets, working_dir=request.working_dir,
        code=None, max_restarts=plan.max_restarts, grace=plan.grace,
    )  # fmt: skip


@pytest.mark.parametrize(
    "what",
    [
        Asked(cluster="lab", target="train.py", args=("--lr", "1 e"), env={"A": "1"}, nodes="1:2"),
        Asked(cluster="lab", kind="module", target="pkg.train", args=("-x",), max_restarts=3),
        Asked(cluster="lab", kind="command", target="ls", args=("-l", "my file")),
        Asked(job="llama", env={"SEED": "2"}, nproc_per_node=4),
    ],
)
def test_a_record_tells_what_to_ask_for_to_have_the_job_again(what: Asked) -> None:
    first = record(what)
    draft = draft_of(first, config())
    asked, problems = drafts.read(draft, config())
    assert problems == {}
    assert record(asked) == first
    assert draft.job == (what.job or "")
    assert draft.env == "\n".join(f"{name}={value}" for name, value in what.env.items())


def test_secrets_of_a_record_have_no_values_in_the_draft() -> None:
    first = record(Asked(cluster="lab", target="t.py", env={"HF_TOKEN": "geheim"}))
    assert draft_of(first, config()).env == "HF_TOKEN"


def test_a_job_of_which_only_its_end_is_remembered_is_guessed() -> None:
    draft = drafts.of_job(job())
    assert (draft.kind, draft.target, draft.args) == ("script", "train.py", "--config 70b.yaml")
    assert (draft.cluster, draft.launcher, draft.nodes) == ("lab", "ddp", "2")


def test_long_lines_go_on_in_the_next_row_at_a_word() -> None:
    rows = wrapped([line("one ", Span("two three", "bad"), " four")], 12)
    assert texts(rows) == ["one two ", "  three four"]
    assert rows[1].spans[1] == Span("three", "bad")
    assert texts(wrapped([line("alpha beta gamma")], 12)) == ["alpha beta ", "  gamma"]
    assert texts(wrapped([line("x" * 20)], 8)) == ["x" * 8, "  " + "x" * 6, "  " + "x" * 6]
    assert texts(wrapped([line("fits")], 8)) == ["fits"]
    wide = wrapped([line("世界" * 6)], 7)
    assert all(width_of(row.spans) <= 7 for row in wide)
    assert "".join(text.strip() for text in texts(wide)) == "世界" * 6
    assert texts(wrapped([line("世界世界")], 3)) == ["世界世界"]
