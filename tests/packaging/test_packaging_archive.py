"""Packages: equal trees give equal digests, and what is unpacked is what was packed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import socket
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cockpit.packaging
from cockpit.errors import ExitCode, PackagingError
from cockpit.node.agent.archives import unpack
from cockpit.packaging import Package, pack

Tree = dict[bytes, tuple[str, bytes, int]]
"""path -> (kind, content or link target, mode)"""


def make(root: Path, tree: Tree, *, order: random.Random | None = None) -> Path:
    paths = list(tree)
    if order:
        order.shuffle(paths)
    for path in paths:
        kind, content, mode = tree[path]
        full = os.path.join(os.fsencode(root), path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if kind == "link":
            os.symlink(content, full)
        else:
            with open(full, "wb") as file:
                file.write(content)
            os.chmod(full, mode)
            if order:
                os.utime(full, (order.randrange(10**9), order.randrange(10**9)))
    return root


def unpacked(package: Package) -> Tree:
    data = b"".join(package.chunks())
    assert len(data) == package.size
    assert hashlib.sha256(data).hexdigest() == package.digest
    tree: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            path = os.fsencode(member.name)
            assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
            assert (member.uname, member.gname) == ("", "")
            if member.issym():
                tree[path] = ("link", os.fsencode(member.linkname), 0o777)
            else:
                assert member.isreg()
                content = archive.extractfile(member)
                assert content is not None
                tree[path] = ("file", content.read(), member.mode)
    return tree


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root reads everything, so for a while we are somebody else."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


_PARTS = st.binary(min_size=1, max_size=12).filter(
    lambda part: (
        not {0, 0x2F} & set(part)
        and part not in (b".", b"..", b".git", b".gitignore", b".cockpitignore")
    )
)
_FILES = st.tuples(
    st.just("file"),
    st.binary(max_size=1200),
    st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o777, 0o640]),
)
_LINKS = st.tuples(
    st.just("link"), st.binary(min_size=1, max_size=120).filter(lambda t: 0 not in t), st.just(0)
)


def _no_file_is_a_folder(tree: Tree) -> bool:
    return not any(
        path != other and other.startswith(path + b"/") for path in tree for other in tree
    )


_TREES = st.dictionaries(
    st.lists(_PARTS, min_size=1, max_size=3).map(b"/".join),
    st.one_of(_FILES, _LINKS),
    min_size=1,
    max_size=6,
).filter(_no_file_is_a_folder)


@settings(max_examples=60)
@given(tree=_TREES, seed=st.integers())
def test_what_is_unpacked_is_what_was_packed_and_place_time_and_order_do_not_matter(
    tree: Tree, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first = pack(make(Path(one), tree))
        assert unpacked(first) == {
            path: (kind, content, mode if kind == "file" else 0o777)
            for path, (kind, content, mode) in tree.items()
        }
        second = pack(make(Path(two), tree, order=random.Random(seed)))
        assert second.code == first.code


@settings(max_examples=30)
@given(tree=_TREES)
def test_a_node_unpacks_what_was_packed(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        package = pack(make(Path(folder, "work"), tree))
        Path(folder, "archive").write_bytes(b"".join(package.chunks()))
        unpack(f"{folder}/archive", f"{folder}/unpacked")
        assert pack(Path(folder, "unpacked")).code == package.code


def test_content_mode_name_and_link_target_each_change_the_digest(tmp_path: Path) -> None:
    base: Tree = {b"a": ("file", b"one", 0o644), b"l": ("link", b"a", 0)}
    variants: list[Tree] = [
        base,
        {**base, b"a": ("file", b"two", 0o644)},
        {**base, b"a": ("file", b"one", 0o755)},
        {**base, b"l": ("link", b"b", 0)},
        {b"b": base[b"a"], b"l": base[b"l"]},
        {**base, b"c": ("file", b"", 0o644)},
    ]
    digests = {
        pack(make(tmp_path / str(number), tree)).digest for number, tree in enumerate(variants)
    }
    assert len(digests) == len(variants)


def test_the_digest_is_the_same_with_every_python_and_version_of_cockpit(tmp_path: Path) -> None:
    tree: Tree = {
        b"train.py": ("file", b"print('hi')\n", 0o644),
        b"run.sh": ("file", b"#!/bin/sh\n", 0o755),
        b"deep/" + b"x" * 150 + b"/f": ("file", b"long", 0o600),
        b"not-\xff-utf8": ("file", b"", 0o644),
        b"link": ("link", b"train.py", 0),
    }
    package = pack(make(tmp_path / "work", tree))
    assert package.digest == "ba91a584c447124fa70cd3a96358ffb5f5a3aad64f80d2ce4a774bc9f19ccc0d"
    assert (package.files, package.size) == (5, 6144)


def test_gnu_tar_unpacks_the_archive(tmp_path: Path) -> None:
    tree: Tree = {
        b"a/" + b"n" * 120 + b"/f": ("file", b"x" * 3000, 0o751),
        b"caf\xe9": ("file", b"latin", 0o644),
        b"link": ("link", b"t" * 130, 0),
    }
    package = pack(make(tmp_path / "work", tree))
    target = tmp_path / "out"
    target.mkdir()
    subprocess.run(["tar", "-xpC", target], input=b"".join(package.chunks()), check=True)
    assert pack(target).digest == package.digest


def test_special_bits_of_a_mode_do_not_travel(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("x")
    (tmp_path / "tool").chmod(0o4755)
    assert unpacked(pack(tmp_path))[b"tool"][2] == 0o755


def test_links_are_kept_and_those_that_lead_out_are_named(tmp_path: Path) -> None:
    tree: Tree = {
        b"pkg/inside": ("link", b"../data", 0),
        b"pkg/outside": ("link", b"../../etc", 0),
        b"absolute": ("link", b"/etc/passwd", 0),
        b"dotted": ("link", b"..name", 0),
        b"up": ("link", b"..", 0),
        b"data": ("file", b"x", 0o644),
    }
    package = pack(make(tmp_path, tree))
    assert unpacked(package)[b"pkg/outside"] == ("link", b"../../etc", 0o777)
    (warning,) = package.warnings
    assert "absolute, pkg/outside, up" in warning
    assert "inside" not in warning
    assert "dotted" not in warning


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("x")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a").write_text("x")
    (tmp_path / "work" / "folder").symlink_to("../elsewhere")
    assert set(unpacked(pack(tmp_path / "work"))) == {b"a", b"folder"}


def test_sockets_and_pipes_are_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "sock"))
        heard: list[str] = []
        package = pack(tmp_path, warn=heard.append)
    assert set(unpacked(package)) == {b"a"}
    assert "pipe, sock" in heard[0]
    assert package.warnings == tuple(heard)


def test_a_name_in_a_warning_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "evil\x1b]52;c;x\x07\nname").symlink_to("/etc")
    (warning,) = pack(tmp_path).warnings
    assert warning.isprintable()


def test_a_large_folder_gets_a_warning_that_names_its_three_largest_files(tmp_path: Path) -> None:
    for name, size in {"weights.pt": 60, "data.bin": 30, "log": 12, "train.py": 1}.items():
        with open(tmp_path / name, "wb") as file:
            file.truncate(size * 10**6)
    heard: list[str] = []
    package = pack(tmp_path, warn=heard.append)
    (warning,) = heard
    assert "103.0 MB" in warning
    assert "weights.pt (60.0 MB), data.bin (30.0 MB), log (12.0 MB)" in warning
    assert "train.py" not in warning
    assert ".cockpitignore" in warning
    assert "--no-sync" in warning
    assert [entry.path for entry in package.largest(2)] == [b"weights.pt", b"data.bin"]


def test_a_hundred_megabytes_are_not_yet_large(tmp_path: Path) -> None:
    with open(tmp_path / "weights.pt", "wb") as file:
        file.truncate(cockpit.packaging.LARGE)
    assert pack(tmp_path).warnings == ()


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    with open(tmp_path / "weights.pt", "wb") as file:
        file.truncate(90 * 10**6)
    package = pack(tmp_path)
    longest = max(map(len, package.chunks()))
    assert longest <= 1024 * 1024


@pytest.mark.parametrize("change", ["rewritten", "shortened", "removed", "replaced by a link"])
def test_a_file_that_changes_before_it_is_sent_is_named(tmp_path: Path, change: str) -> None:
    file = tmp_path / "train.py"
    file.write_bytes(b"x" * 5000)
    os.utime(file, (1, 1))
    package = pack(tmp_path)
    if change == "rewritten":
        file.write_bytes(b"x" * 4999 + b"y")
        os.utime(file, (1, 1))
    elif change == "shortened":
        file.write_bytes(b"x" * 4000)
    else:
        file.unlink()
        if change == "replaced by a link":
            file.symlink_to("/etc/passwd")
    with pytest.raises(PackagingError, match=r"train\.py"):
        list(package.chunks())


def test_a_file_that_only_grew_is_sent_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text("one\n")
    package = pack(tmp_path)
    with file.open("a") as log:
        log.write("two\n")
    assert unpacked(package)[b"log.txt"][1] == b"one\n"


def test_a_package_can_be_sent_more_than_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    package = pack(tmp_path)
    assert b"".join(package.chunks()) == b"".join(package.chunks())


@pytest.mark.parametrize("content", [{}, {".git/config": "x"}, {".cockpitignore": "*"}])
def test_a_folder_with_nothing_to_pack_is_an_error(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(PackagingError, match="no file in it") as caught:
        pack(tmp_path)
    assert caught.value.exit_code is ExitCode.NO_INPUT
    assert ".cockpitignore" in caught.value.hint


def test_a_working_directory_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match="missing: it is not a folder"):
        pack(tmp_path / "missing")


@pytest.mark.parametrize("what", ["file", "folder", "ignore file"])
def test_what_cannot_be_read_is_named(home: Path, what: str) -> None:
    home.chmod(0o755)
    home.parent.chmod(0o755)
    work = home / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub" / "train.py").write_text("x")
    (work / "sub" / ".gitignore").write_text("x")
    target = {"file": "sub/train.py", "folder": "sub", "ignore file": "sub/.gitignore"}[what]
    (work / target).chmod(0)
    with as_nobody(), pytest.raises(PackagingError, match="Permission denied") as caught:
        pack(work)
    assert target in str(caught.value)


def test_cockpits_own_folders_never_travel(tmp_path: Path, home: Path) -> None:
    for name in ("train.py", ".cockpit/jobs/x", ".cache/cockpit/m", "mirror/log", "mirrors/keep"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("x")
    assert set(unpacked(pack(home, exclude=[home / "mirror"]))) == {b"train.py", b"mirrors/keep"}
    assert set(unpacked(pack(home / "mirror"))) == {b"log"}


def test_a_working_directory_inside_cockpits_own_folder_is_packed_all_the_same(home: Path) -> None:
    inside = home / ".cockpit" / "jobs" / "x" / "work"
    inside.mkdir(parents=True)
    (inside / "train.py").write_text("x")
    assert set(unpacked(pack(inside))) == {b"train.py"}


def test_ten_thousand_files_are_packed(tmp_path: Path) -> None:
    for number in range(10_000):
        folder = tmp_path / str(number % 100)
        folder.mkdir(exist_ok=True)
        (folder / str(number)).write_bytes(b"x")
    package = pack(tmp_path)
    assert package.files == 10_000
    assert sum(map(len, package.chunks())) == package.size


def test_a_file_without_any_permission_bit_but_readable_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(stat.S_IRUSR)
    assert unpacked(pack(tmp_path))[b"a"][2] == 0o400
