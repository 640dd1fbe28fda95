"""Fitting arguments to a torchrun, against argument parsers as torchrun's is."""

from __future__ import annotations

import argparse
import string

import pytest

from cockpit.node.launch import torchargs
from cockpit.protocol import macros

HARD = ["--n", "--shutdown", "--", "", "-x", "$$", "${local_rank}", "$(id)", "a\nb"]


def parser(*options: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    for option in ("--nnodes", "--nproc-per-node", *options):
        made.add_argument(option)
    made.add_argument("--no-python", action="store_true")
    made.add_argument("training_script")
    made.add_argument("training_script_args", nargs=argparse.REMAINDER)
    return made


def replaced(arguments: list[str]) -> list[str]:
    """What torch does to the arguments of a rank."""
    return [string.Template(text).safe_substitute(local_rank="0") for text in arguments]


def test_the_users_arguments_survive_torchrun() -> None:
    fitted = torchargs.fit(["--nnodes=2", "--", "worker.py", *HARD], {"--nnodes"})
    parsed = parser().parse_args(fitted.arguments)
    assert parsed.nnodes == "2"
    assert replaced([parsed.training_script, *parsed.training_script_args]) == ["worker.py", *HARD]


def test_a_program_without_python_is_not_touched_by_torch() -> None:
    fitted = torchargs.fit(["--no-python", "--", "run $$ me", *HARD], set())
    parsed = parser().parse_args(fitted.arguments)
    assert parsed.training_script == "run $$ me"
    assert replaced(parsed.training_script_args) == HARD


def test_a_script_in_a_folder_with_dollars_is_found() -> None:
    fitted = torchargs.fit(["--", "/a$$b/${local_rank}/worker.py"], set())
    assert replaced(fitted.arguments[1:]) == ["/a$$b/${local_rank}/worker.py"]


def test_options_that_an_older_torchrun_lacks_are_left_out_and_named() -> None:
    given = ["--nnodes=2", "--shutdown-timeout=25", "--signals-to-handle=SIGTERM", "--", "w.py"]
    fitted = torchargs.fit([*given, "--shutdown-timeout=1"], {"--nnodes"})
    assert fitted.arguments == ["--nnodes=2", "--", "w.py", "--shutdown-timeout=1"]
    assert fitted.left_out == ("--shutdown-timeout", "--signals-to-handle")
    assert fitted.shutdown_timeout == 25
    known = {"--nnodes", *torchargs.NEWER_OPTIONS}
    assert torchargs.fit(given, known).arguments == given


def test_an_option_that_nobody_knows_is_torchruns_to_refuse() -> None:
    assert torchargs.fit(["--nodes=2", "--", "w.py"], {"--nnodes"}).arguments[0] == "--nodes=2"


@pytest.mark.parametrize(
    ("ranks", "environ", "expected"),
    [
        ("4", {}, {"OMP_NUM_THREADS": "1"}),
        ("1", {}, {}),
        ("4", {"OMP_NUM_THREADS": "8"}, {}),
        ("gpu", {}, {}),
    ],
)
def test_many_ranks_get_one_thread_each_unless_told(
    ranks: str, environ: dict[str, str], expected: dict[str, str]
) -> None:
    assert torchargs.threads([f"--nproc-per-node={ranks}"], environ) == expected


def test_stray_overrides_are_removed_and_named() -> None:
    environ = {"PET_NNODES": "2", "PATH": "/bin", "PETS": "cat"}
    assert torchargs.clear_overrides(environ) == ("PET_NNODES",)
    assert environ == {"PATH": "/bin", "PETS": "cat"}


def test_exactly_the_node_that_is_told_to_hosts_the_store() -> None:
    assert torchargs.hosts_store(["--rdzv-conf=is_host=1,join_timeout=600"])
    assert not torchargs.hosts_store(["--rdzv-conf=is_host=0,join_timeout=600"])
    assert not torchargs.hosts_store(["--rdzv-conf=join_timeout=600"])


def test_macros_and_torchs_own_do_not_meddle_with_each_other() -> None:
    for text in HARD:
        assert macros.substitute(macros.escape(text), {}) == text
