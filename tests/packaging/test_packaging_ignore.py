"""Ignore files, held against the git that is installed here."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cockpit.packaging import pack
from cockpit.packaging.ignore import IgnoreRules, parse_rules
from cockpit.packaging.selection import select


def matches(glob: bytes, path: bytes, *, is_dir: bool = False) -> bool:
    patterns = parse_rules(glob, lambda _number, line: pytest.fail(f"not understood: {line!r}"))
    return any(pattern.matches(path, is_dir=is_dir) for pattern in patterns)


def rules_of(root: Path) -> IgnoreRules:
    return IgnoreRules(os.fsencode(root), b".gitignore", pytest.fail)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        (b"build", b"build"),
        (b"build", b"a/b/build"),
        (b"*.py[co]", b"pkg/x.pyc"),
        (b"/top", b"top"),
        (b"a/**/z", b"a/z"),
        (b"a/**/z", b"a/b/c/z"),
        (b"a/**", b"a/b/c"),
        (b"**/z", b"z"),
        (b"a/*/z", b"a/b/z"),
        (rb"\#x", b"#x"),
        (rb"\!x", b"!x"),
        (rb"x\ ", b"x "),
        (b"x   ", b"x"),
        (b"[!a]x", b"bx"),
        (b"[^a]x", b"bx"),
        (b"[]]x", b"]x"),
        (b"[a-c-]x", b"-x"),
        (b"\xffx", b"\xffx"),
        (b"??", "é".encode()),
    ],
)
def test_a_pattern_matches_what_git_says_it_matches(glob: bytes, path: bytes) -> None:
    assert matches(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        (b"build", b"builder.py"),
        (b"/top", b"a/top"),
        (b"a/*", b"a/b/c"),
        (b"a?z", b"a/z"),
        (b"a[/]z", b"a/z"),
        (b"folder/", b"folder"),
        (b"# note", b"# note"),
        (b"", b"x"),
        (b"/", b"x"),
        (b"lib[!x]*", b"lib/py"),
        (b"x /", b"x"),
        (b"?", "é".encode()),
        (b"a.c", b"abc"),
    ],
)
def test_a_pattern_leaves_alone_what_git_leaves_alone(glob: bytes, path: bytes) -> None:
    assert not matches(glob, path)


def test_a_pattern_for_folders_speaks_of_folders_only() -> None:
    assert matches(b"data/", b"data", is_dir=True)
    assert not matches(b"data/", b"data")


@pytest.mark.parametrize(
    "line", ["[[:digit:]]x", r"[\]]x", "[abc", "[[]x", "a/***", "x\\", "!", "[z-a]"]
)
def test_a_pattern_that_is_not_understood_is_left_out_and_named_with_file_and_line(
    tmp_path: Path, line: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".cockpitignore").write_text(f"# first\n*.log\n{line}\n*.tmp\n")
    for name in ("a.py", "a.log", "a.tmp"):
        (tmp_path / "sub" / name).touch()
    package = pack(tmp_path)
    assert [entry.path for entry in package.entries] == [b"sub/.cockpitignore", b"sub/a.py"]
    (warning,) = package.warnings
    assert warning.startswith("sub/.cockpitignore:3: ")
    assert repr(line) in warning


def test_the_deepest_ignore_file_wins_and_in_it_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "a" / ".gitignore").write_text("!keep.log\n!both.log\nboth.log\n")
    rules = rules_of(tmp_path)
    assert rules.excludes_file(b"x.log")
    assert rules.excludes_file(b"a/x.log")
    assert not rules.excludes_file(b"a/keep.log")
    assert rules.excludes_file(b"a/both.log")


def test_nothing_below_an_excluded_folder_can_be_brought_back(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / ".gitignore").write_text("out/\n!out/keep\n")
    (tmp_path / "out" / ".gitignore").write_text("!keep\n")
    rules = rules_of(tmp_path)
    assert rules.excludes_file(b"out/keep")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    rules = rules_of(tmp_path)
    assert rules.excludes_file(b"one")
    assert rules.excludes_file(b"two")


def test_an_ignore_file_that_is_a_link_or_a_folder_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("*\n")
    (tmp_path / ".gitignore").symlink_to("rules")
    (tmp_path / "a" / ".gitignore").mkdir(parents=True)
    rules = rules_of(tmp_path)
    assert not rules.excludes_file(b"x")
    assert not rules.excludes_file(b"a/x")


# The tree on which generated ignore files are tried: few names, so that patterns often hit.
_NAMES = ["a", "b", "ab", "a.py", "b.log", "[x]", "a b", "é", "!a", "#a", "a\\b", "A"]
_WILD = ["*", "**/", "/**", "?", "[ab]", "[a-c]", "[!a]", "[^a-b]", "[]a]"]
_PIECES = st.sampled_from([*_WILD, "a", "b", ".", "/", ".py", ".log", "é", "[x]", " ", "#", "\\#"])
_MARKS = st.sampled_from(["", "", "", "!", "\\!"])
_LINES = st.builds("{}{}".format, _MARKS, st.lists(_PIECES, min_size=1, max_size=6).map("".join))
_RULES = st.lists(_LINES, max_size=6).map("\n".join)


def ordinary(text: str) -> bool:
    """None of what the module names as different, or in which git's own versions differ."""
    for line in text.split("\n"):
        body = line.removeprefix("!").strip("/")
        if "***" in line or ("/" in body and ("[!" in body or "[^" in body)):
            return False
        if any("**" in part and part.strip("*") for part in body.split("/")):
            return False
    return True


@settings(max_examples=150)
@given(
    tree=st.sets(
        st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join),
        min_size=1,
        max_size=8,
    ),
    top=_RULES.filter(ordinary),
    inner=_RULES.filter(ordinary),
)
@example(tree={"a/b", "a/a", "b"}, top="*\n!*/\n!b", inner="")
@example(tree={"a/b/a.py", "a/b.log"}, top="a/*\n!a/b", inner="!b.log")
@example(tree={"a/b"}, top="!a/\na*\n!ab", inner="b\n!b/")
@example(tree={"a", "b", "ab"}, top="a\\ \nb  \n  ab", inner="")
@example(tree={"a/b/a.py", "a/ab/b", "b.log"}, top="*\n!*/\n!*.py", inner="")
@example(tree={"a/b", "a/ab/b.log"}, top="a/**\n!a/b", inner="")
@example(tree={"a/b.log", "a/b"}, top="*.log\n!a/", inner="")
def test_outside_git_the_same_files_are_chosen_as_git_would_choose(
    tree: set[str], top: str, inner: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in tree:
            path = root / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue  # "a" and "a/b" cannot both be
        (root / ".gitignore").write_text(top)
        if (root / "a").is_dir():
            (root / "a" / ".gitignore").write_text(inner)
        ours = select(os.fsencode(root), skip=frozenset(), warn=lambda _: None)
        subprocess.run(["git", "init", "-q", root], check=True, capture_output=True)
        theirs = subprocess.run(
            ["git", "ls-files", "-z", "--others", "--exclude-standard"],
            cwd=root,
            check=True,
            capture_output=True,
        ).stdout.split(b"\0")
        assert ours == sorted(filter(None, theirs))
