"""A pattern that is accepted ends in time on whatever text; one that may not is refused."""

from __future__ import annotations

import os
import pathlib
import pwd
import subprocess
import sys
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cockpit.errors import UsageError
from cockpit.model.rules import Pattern, Rules, builtin
from cockpit.profiles import patterncost, patterns
from cockpit.profiles.types import Rule

NASTY = [
    r"(\w+\s?)+: fatal",
    r"(a+)+$",
    r"(?:a*)*b",
    r"(a|aa)+$",
    r"(?:a|ab|b)*c",
    r"(?:\w\s?)+x",
    r"(?:(?:a{1,3})+b)+c",
    r"(x+x+)+y",
    r"(a+){2,}b",
    r"(?P<word>[a-z]+ ?)*!",
    r"(?i:(?:A+)+)b",
    r"(?=(a+)+b)a",
    r"(a)?(?(1)(b+)+|c)d",
]


@pytest.mark.parametrize("pattern", NASTY)
def test_a_repeat_without_a_limit_around_one_that_varies_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="search may take for ever") as caught:
        patterns.check(pattern)
    assert "instead of" in caught.value.hint


@pytest.mark.parametrize(
    "pattern",
    [r"(a?){30}a{30}", r"(a?){500}b", r"(a{1,30}){1,30}b", r"(\w+ ?){1,50}: fatal", r".*.*.*x",
     r"x*x*y", r"\w*\w*\w*\w*:", r"(?:a|a)(?:a|a){0,40}b"],
)  # fmt: skip
def test_repeats_that_share_a_line_in_too_many_ways_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="in so many ways"):
        patterns.check(pattern)


def test_length_and_number_of_repeats_are_limited() -> None:
    patterns.check("a" * patterns.MAX_LENGTH)
    with pytest.raises(UsageError, match="301 characters, 300 are allowed"):
        patterns.check("a" * (patterns.MAX_LENGTH + 1))
    patterns.check("a+b+c+d+x")
    with pytest.raises(UsageError, match="5 repeats without a limit, 4 are allowed"):
        patterns.check("a+b+c+d+e+x")


ORDINARY = [
    "",
    r"shard (\d+) is broken",
    r"error.*rank (\d+)",
    r"(\w+)Error: (.*) on rank (\d+)",
    r"^step\s+(\d+)\s+loss\s+nan",
    r"loss: (\S+), step: (\S+), lr: (\S+)",
    r"(\d{1,3}\.){3}\d{1,3}",
    r"(?i)\bnan\b.*gradient",
    r"(?:[0-9a-f]{2}:)+ lost",
    r"['\"]([^'\"]*)['\"] not found",
    r"(\w|\d)+: fatal",
    r"a.*b|c.*d|e.*f",
    r"(?s)(.*)",
]


@pytest.mark.parametrize("pattern", ORDINARY)
def test_what_people_write_is_accepted(pattern: str) -> None:
    assert patterns.check(pattern).pattern == pattern


@pytest.mark.parametrize("rule", builtin(), ids=lambda rule: rule.name)
def test_the_rules_that_cockpit_brings_pass_the_same_check(rule: Pattern) -> None:
    patterns.check(rule.pattern)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[z-a]", "*"])
def test_what_is_no_expression_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="it is no regular expression"):
        patterns.check(pattern)


# -- accepted is quick --------------------------------------------------------------------------

TEXTS = ["a" * 5000, "ab" * 2500, "a b" * 1500, "a:" * 2500, "aab:b " * 800, "b" * 399 + "a"]
LIMIT = 10.0
"""Seconds of CPU time for all lines that are searched; usual is less than one, and an
exponential search takes years."""

_atoms = st.sampled_from(["a", "b", ".", r"\w", r"\s", "[ab]", "[^:]", ":", r"\b", "ab", "$"])
_counts = st.sampled_from(["*", "+", "?", "*?", "+?", "{2}", "{0,3}", "{1,40}", "{5,}", "{3,300}"])


def _bigger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=2, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: f"(?:{'|'.join(some)})"),
        st.tuples(inner, _counts).map(lambda pair: f"({pair[0]}){pair[1]}"),
    )


@settings(max_examples=60, deadline=None)
@given(st.recursive(_atoms, _bigger, max_leaves=10), st.sampled_from(["", "!", ": fatal"]))
def test_a_pattern_that_is_accepted_ends_in_time(pattern: str, end: str) -> None:
    try:
        patterns.check(pattern + end)
    except UsageError:
        assume(False)
    _in_time(pattern + end)


@pytest.mark.parametrize(
    "pattern", [*ORDINARY, "a+b+c+d+x", ".*ab.*bab", "ab.*.*ab!!", r".{1,40}.{1,40}!",
                r"\w*:\w*:\w*!", r"!!!.*aaa.*!!!", r"(?:a?b?){1,4}!", r"^.*.*!"]
)  # fmt: skip
def test_patterns_of_nasty_shapes_that_are_accepted_end_in_time(pattern: str) -> None:
    patterns.check(pattern)
    _in_time(pattern)


def _in_time(pattern: str) -> None:
    rules = Rules([Rule(name="mine", pattern=pattern, cause="x")])
    for text in TEXTS:
        begin = time.process_time()
        rules.find("\n".join([text] * 100), (text,) * 100)
        assert time.process_time() - begin < LIMIT, text[:10]


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_the_parser_of_every_python_is_understood(version: str) -> None:
    home = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)
    found = sorted(home.glob(f".pyenv/versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version}")
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('cost', sys.argv[1])\n"
        "cost = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(cost)\n"
        "for pattern in sys.argv[2:]:\n"
        "    nested, endless, steps = cost.measure(pattern, 400)\n"
        "    print(nested, endless, f'{steps:.6g}')\n"
    )
    every = [*NASTY, *ORDINARY]
    done = subprocess.run(
        [str(found[0]), "-c", code, str(patterncost.__file__), *every],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here = [patterncost.measure(pattern, 400) for pattern in every]
    assert done.stdout.splitlines() == [
        f"{cost.nested} {cost.endless} {cost.steps:.6g}" for cost in here
    ]


def test_possessive_repeats_count_as_repeats() -> None:
    if sys.version_info < (3, 11):
        with pytest.raises(UsageError, match="no regular expression"):
            patterns.check("a++")
        return
    assert patterncost.measure("(?>a+)b++c", 400).endless == 2
    with pytest.raises(UsageError, match="for ever"):
        patterns.check("(?:a++b?)+c")
