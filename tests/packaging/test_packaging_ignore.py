"""Ignore files, held against the git that is installed here."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cockpit.packaging.ignore import IgnoreRules
from cockpit.packaging.selection import select
from cockpit.packaging.wildmatch import parse_line


def matches(glob: bytes, path: bytes, *, is_dir: bool = False) -> bool:
    pattern = parse_line(glob)
    return pattern is not None and pattern.matches(path, is_dir=is_dir)


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
        (rb"[\]]x", b"]x"),
        (b"[[:digit:]]x", b"7x"),
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
        (b"!", b"!"),
        (b"x\\", b"x"),
        (b"[z-a]", b"m"),
        (b"[abc", b"[abc"),
        (b"[[:nonsense:]]", b"n"),
        (b"?", "é".encode()),
        (b"a.c", b"abc"),
    ],
)
def test_a_pattern_leaves_alone_what_git_leaves_alone(glob: bytes, path: bytes) -> None:
    assert not matches(glob, path)


def test_a_pattern_for_folders_speaks_of_folders_only() -> None:
    assert matches(b"data/", b"data", is_dir=True)
    assert not matches(b"data/", b"data")


def test_the_deepest_ignore_file_wins_and_in_it_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "a" / ".gitignore").write_text("!keep.log\n!both.log\nboth.log\n")
    rules = IgnoreRules(os.fsencode(tmp_path), b".gitignore")
    assert rules.excludes_file(b"x.log")
    assert rules.excludes_file(b"a/x.log")
    assert not rules.excludes_file(b"a/keep.log")
    assert rules.excludes_file(b"a/both.log")


def test_nothing_below_an_excluded_folder_can_be_brought_back(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / ".gitignore").write_text("out/\n!out/keep\n")
    (tmp_path / "out" / ".gitignore").write_text("!keep\n")
    rules = IgnoreRules(os.fsencode(tmp_path), b".gitignore")
    assert rules.excludes_file(b"out/keep")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    rules = IgnoreRules(os.fsencode(tmp_path), b".gitignore")
    assert rules.excludes_file(b"one")
    assert rules.excludes_file(b"two")


def test_an_ignore_file_that_is_a_link_or_a_folder_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("*\n")
    (tmp_path / ".gitignore").symlink_to("rules")
    (tmp_path / "a" / ".gitignore").mkdir(parents=True)
    rules = IgnoreRules(os.fsencode(tmp_path), b".gitignore")
    assert not rules.excludes_file(b"x")
    assert not rules.excludes_file(b"a/x")


# The tree on which generated ignore files are tried: few names, so that patterns often hit.
_NAMES = ["a", "b", "ab", "a.py", "b.log", "[x]", "a b", "é", "!a", "#a", "a\\b", "A"]
_WILD = ["*", "**", "**/", "/**", "***", "?", "[ab]", "[!a]", "[^a-b]", "[a-", "[]a]", "[a\\]]"]
_ODD = ["[[:alpha:]]", "[[:punct:]]", "[[:x:]]", "[b-a]", "\\", "\\!", "!", "#", " ", "\t", "\x0b"]
_PIECES = st.sampled_from([*_WILD, *_ODD, "a", "b", ".", "/", ".py", ".log", "é", "[x]"])
_LINES = st.lists(_PIECES, max_size=6).map("".join)
_RULES = st.lists(_LINES, max_size=6).map("\n".join)


def glued_stars(text: str) -> bool:
    """Whether git's own versions differ: a `**` that does not stand between slashes."""
    for line in text.split("\n"):
        body = line.removeprefix("!").strip("/")
        if any("**" in part and part.strip("*") for part in body.split("/")):
            return True
    return False


@settings(max_examples=150)
@given(
    tree=st.sets(
        st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join),
        min_size=1,
        max_size=8,
    ),
    top=_RULES.filter(lambda rules: not glued_stars(rules)),
    inner=_RULES.filter(lambda rules: not glued_stars(rules)),
)
@example(tree={"a/b", "a/a", "b"}, top="*\n!*/\n!b", inner="")
@example(tree={"a/b/a.py", "a/b.log"}, top="a/*\n!a/b", inner="!b.log")
@example(tree={"a/b"}, top="!a/\na*\n!ab", inner="b\n!b/")
@example(tree={"a", "b", "ab"}, top="a\\ \nb  \n  ab", inner="")
@example(tree={"a/b", "ab"}, top="[", inner="a\\")
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
        ours = select(os.fsencode(root), skip=frozenset(), warn=pytest.fail)
        subprocess.run(["git", "init", "-q", root], check=True, capture_output=True)
        theirs = subprocess.run(
            ["git", "ls-files", "-z", "--others", "--exclude-standard"],
            cwd=root,
            check=True,
            capture_output=True,
        ).stdout.split(b"\0")
        assert ours == sorted(filter(None, theirs))
