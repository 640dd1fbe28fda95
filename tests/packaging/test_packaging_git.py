"""Which files of a git repository travel, asked of real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cockpit.packaging import pack

NOBODY = 65534


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def repository(root: Path, files: dict[str, str]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "add", "-A", "-f")
    git(root, "commit", "-q", "-m", "x", "--allow-empty")
    return root


def packed(folder: Path) -> set[str]:
    package = pack(folder)
    assert package.warnings == ()
    return {os.fsdecode(entry.path) for entry in package.entries}


def test_tracked_and_new_files_travel_ignored_and_deleted_ones_do_not(tmp_path: Path) -> None:
    root = repository(
        tmp_path, {"a.py": "1", "gone.py": "2", "forced.log": "3", ".gitignore": "*.log"}
    )
    (root / "gone.py").unlink()
    (root / "new file.py").write_text("x")
    (root / "other.log").write_text("x")
    (root / "a.py").write_text("changed, not committed")
    assert packed(root) == {".gitignore", "a.py", "forced.log", "new file.py"}


def test_a_subfolder_packs_itself_only_and_still_obeys_the_rules_above_it(tmp_path: Path) -> None:
    root = repository(tmp_path, {".gitignore": "*.log\n/sub/data/", "sub/a.py": "1", "b.py": "2"})
    write(root, sub__data__big="x", sub__x_log="x")
    (root / "sub" / "y.log").write_text("x")
    assert packed(root / "sub") == {"a.py", "x_log"}


def test_excludes_of_the_clone_and_of_the_user_count(tmp_path: Path, home: Path) -> None:
    root = repository(tmp_path / "r", {"a.py": "1"})
    (root / ".git" / "info").mkdir(exist_ok=True)
    (root / ".git" / "info" / "exclude").write_text("local")
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("*.swp")
    write(root, local="x")
    (root / "a.swp").write_text("x")
    assert packed(root) == {"a.py"}


def test_cockpitignore_leaves_out_more_in_any_folder_tracked_or_not(tmp_path: Path) -> None:
    root = repository(
        tmp_path, {"a.py": "1", "data/big": "2", "docs/x.md": "3", "docs/keep.md": "4"}
    )
    (root / ".cockpitignore").write_text("data/\n")
    (root / "docs" / ".cockpitignore").write_text("*\n!keep.md\n")
    assert packed(root) == {".cockpitignore", "a.py", "docs/keep.md"}


def test_cockpitignore_does_not_bring_back_what_git_ignores(tmp_path: Path) -> None:
    root = repository(tmp_path, {"a.py": "1", ".gitignore": ".env"})
    (root / ".env").write_text("SECRET")
    (root / ".cockpitignore").write_text("!.env")
    assert ".env" not in packed(root)
    shutil.rmtree(root / ".git")
    assert ".env" not in packed(root)


def test_files_of_submodules_and_nested_repositories_travel(tmp_path: Path) -> None:
    library = repository(tmp_path / "library", {"lib.py": "1", ".gitignore": "*.o"})
    root = repository(tmp_path / "r", {"a.py": "1"})
    git(root, "submodule", "add", "-q", str(library), "vendor/lib")
    (root / "vendor" / "lib" / "new.py").write_text("x")
    (root / "vendor" / "lib" / "x.o").write_text("x")
    nested = repository(root / "nested", {"n.py": "1", ".gitignore": "*.tmp"})
    (nested / "x.tmp").write_text("x")
    assert packed(root) == {
        ".gitmodules",
        "a.py",
        "vendor/lib/.gitignore",
        "vendor/lib/lib.py",
        "vendor/lib/new.py",
        "nested/.gitignore",
        "nested/n.py",
    }


def test_a_submodule_that_was_not_checked_out_is_left_out(tmp_path: Path) -> None:
    library = repository(tmp_path / "library", {"lib.py": "1"})
    root = repository(tmp_path / "r", {"a.py": "1"})
    git(root, "submodule", "add", "-q", str(library), "lib")
    git(root, "commit", "-q", "-m", "x")
    git(tmp_path, "clone", "-q", str(root), "clone")
    assert packed(tmp_path / "clone") == {".gitmodules", "a.py"}


def test_a_worktree_packs_without_its_git_file(tmp_path: Path) -> None:
    root = repository(tmp_path / "r", {"a.py": "1"})
    git(root, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert (tmp_path / "tree" / ".git").is_file()
    assert packed(tmp_path / "tree") == {"a.py"}


def test_a_tracked_folder_that_became_a_link_is_packed_as_the_link(tmp_path: Path) -> None:
    root = repository(tmp_path / "r", {"data/secret": "1", "a.py": "2"})
    shutil.move(root / "data", tmp_path / "data")
    (root / "data").symlink_to("../data")
    package = pack(root)
    assert {entry.path for entry in package.entries} == {b"a.py", b"data"}
    assert "data" in package.warnings[0]


def test_a_folder_that_its_repository_ignores_is_packed_whole(tmp_path: Path) -> None:
    root = repository(tmp_path, {".gitignore": "scratch/"})
    (root / "scratch" / "run").mkdir(parents=True)
    (root / "scratch" / "run" / "a.py").write_text("x")
    (root / "scratch" / "run" / "a.log").write_text("x")
    (root / "scratch" / "run" / ".gitignore").write_text("*.log")
    assert packed(root / "scratch" / "run") == {".gitignore", "a.py"}


def test_names_that_git_would_quote_survive(tmp_path: Path) -> None:
    root = repository(tmp_path, {"é.py": "1", 'quote".py': "2", "line\nbreak": "3", "-dash": "4"})
    with open(os.path.join(os.fsencode(root), b"caf\xe9"), "wb"):
        pass
    assert packed(root) == {"é.py", 'quote".py', "line\nbreak", "-dash", "caf\udce9"}


def test_variables_of_a_git_hook_do_not_lead_to_another_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = repository(tmp_path / "other", {"other.py": "1"})
    root = repository(tmp_path / "r", {"a.py": "1"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert packed(root) == {"a.py"}


def test_files_in_conflict_travel_once(tmp_path: Path) -> None:
    root = repository(tmp_path, {"a.py": "1"})
    git(root, "checkout", "-q", "-b", "side")
    (root / "a.py").write_text("side")
    git(root, "commit", "-qam", "side")
    git(root, "checkout", "-q", "-")
    (root / "a.py").write_text("main")
    git(root, "commit", "-qam", "main")
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "side")
    assert pack(root).files == 1


def test_without_git_the_folder_is_walked_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "r", {"a.py": "1", ".gitignore": "*.log"})
    (root / "x.log").write_text("x")
    monkeypatch.setenv("PATH", str(tmp_path))
    package = pack(root)
    assert {entry.path for entry in package.entries} == {b"a.py", b".gitignore"}
    assert "git is not installed" in package.warnings[0]


def test_outside_git_a_missing_git_is_nothing_to_warn_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text("x")
    monkeypatch.setenv("PATH", "")
    assert packed(tmp_path) == {"a.py"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a repository away")
def test_a_repository_that_git_distrusts_is_walked_with_a_warning(tmp_path: Path) -> None:
    root = repository(tmp_path / "r", {"a.py": "1", ".gitignore": "*.log"})
    (root / "x.log").write_text("x")
    for path in (root, root / ".git"):
        os.chown(path, NOBODY, NOBODY)
    package = pack(root)
    assert {entry.path for entry in package.entries} == {b"a.py", b".gitignore"}
    assert "dubious ownership" in package.warnings[0]


def test_a_broken_repository_is_walked_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere/at/all")
    (tmp_path / "a.py").write_text("x")
    package = pack(tmp_path)
    assert {entry.path for entry in package.entries} == {b"a.py"}
    assert "/nowhere/at/all" in package.warnings[0]


def test_listing_files_starts_no_program_that_the_repository_names(tmp_path: Path) -> None:
    root = repository(tmp_path / "r", {"a.py": "1"})
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(trap))
    assert packed(root) == {"a.py"}
    assert not (tmp_path / "sprung").exists()
