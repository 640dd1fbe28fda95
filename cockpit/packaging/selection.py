"""Which files of a working directory travel to the nodes.

Called by `pack`. Inside git: what git tracks plus what is new and not ignored, submodules and
nested repositories included. Elsewhere: the whole folder by the rules of its `.gitignore` files.
On top, in both cases, `.cockpitignore` files leave out more (they cannot bring back what git
ignores). `.git` and cockpit's own folders never travel. Only names are read here, no contents.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator

from cockpit.errors import PackagingError
from cockpit.packaging.ignore import IgnoreRules, Warn
from cockpit.text import clean

GIT_TIMEOUT = 300.0
"""Seconds that one git command may take."""

_GIT_DIR = b".git"
# Set in hooks and by wrappers; they would point git at another repository than the folder's own.
_FOREIGN_GIT = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)


def shown(path: bytes) -> str:
    """A path as safe text for a message."""
    return clean(os.fsdecode(path)) or "."


def select(root: bytes, *, skip: frozenset[bytes], warn: Warn) -> list[bytes]:
    """Paths of files and symbolic links below `root` (absolute, real), sorted, relative to it.

    `skip` names folders or files, relative to `root`, that are left out whatever the rules say.
    Entries that are neither file nor link may be among the result. Raises PackagingError for a
    folder or an ignore file that cannot be read.
    """
    said: set[str] = set()

    def tell(message: str) -> None:
        # An ignore file may be read for the walk and for the last check.
        if message not in said:
            said.add(message)
            warn(message)

    try:
        found = _git_files(root, b"", tell) if _inside_git(root) else None
        if found is None:
            found = _walk(root, skip, tell)
        wanted = IgnoreRules(root, b".cockpitignore", tell)
        return sorted(
            path
            for path in set(found)
            if not _below_any(path, skip) and not wanted.excludes_file(path)
        )
    except OSError as error:
        name = shown(os.fsencode(error.filename)) if error.filename else shown(root)
        raise PackagingError(
            f"cannot read {name} while packing {shown(root)}: {error.strerror or error}",
            "make it readable, or name it in .cockpitignore",
        ) from error


def _below_any(path: bytes, folders: frozenset[bytes]) -> bool:
    return any(path == folder or path.startswith(folder + b"/") for folder in folders)


def _walk(root: bytes, skip: frozenset[bytes], warn: Warn) -> list[bytes]:
    """All files below `root` that its `.gitignore` and `.cockpitignore` files let pass."""
    rules = tuple(IgnoreRules(root, name, warn) for name in (b".gitignore", b".cockpitignore"))
    found: list[bytes] = []
    folders = [b""]
    while folders:
        folder = folders.pop()
        for name, is_dir in _entries(os.path.join(root, folder)):
            path = os.path.join(folder, name)
            if name == _GIT_DIR or path in skip:
                continue
            if any(rule.excludes(path, is_dir=is_dir) for rule in rules):
                continue
            (folders if is_dir else found).append(path)
    return found


def _entries(folder: bytes) -> list[tuple[bytes, bool]]:
    """(name, is a folder) of all that lies in `folder`; nothing if it vanished meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except FileNotFoundError:
        return []


def _inside_git(root: bytes) -> bool:
    """Whether `root` or a folder above it looks like a work tree."""
    folder = root
    while not os.path.lexists(os.path.join(folder, _GIT_DIR)):
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True


def _git_files(root: bytes, prefix: bytes, warn: Warn) -> list[bytes] | None:
    """Git's answer for `root`/`prefix`, relative to `root`. None: git cannot or does not speak."""
    folder = os.path.join(root, prefix)
    try:
        # Whoever packs an ignored folder by name wants what is in it.
        if _git(folder, "check-ignore", "-q", ".").returncode == 0:
            return None
        listing = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    except FileNotFoundError:
        _fall_back(folder, "git is not installed", warn)
        return None
    except subprocess.TimeoutExpired:
        _fall_back(folder, f"git took longer than {GIT_TIMEOUT:.0f} s", warn)
        return None
    complaints = [line for line in map(clean, _lines(listing.stderr)) if line]
    if listing.returncode != 0:
        reason = next((line for line in complaints if line.startswith("fatal:")), "git failed")
        _fall_back(folder, reason.removeprefix("fatal: "), warn)
        return None
    for complaint in complaints:
        warn(f"git, listing {shown(folder)}: {complaint}")
    names = filter(None, listing.stdout.split(b"\0"))
    return list(_resolve(root, [os.path.join(prefix, name) for name in names], warn))


def _resolve(root: bytes, paths: list[bytes], warn: Warn) -> Iterator[bytes]:
    """What of git's list is really there; a repository inside the repository is asked itself."""
    real_folders = {b"": True}

    def is_real(folder: bytes) -> bool:
        known = real_folders.get(folder)
        if known is None:
            known = is_real(os.path.dirname(folder)) and stat.S_ISDIR(_mode(root, folder))
            real_folders[folder] = known
        return known

    for name in paths:
        path = name.rstrip(b"/")
        # A tracked file whose folder is now a link lies elsewhere; git calls it deleted.
        if not is_real(os.path.dirname(path)):
            continue
        mode = _mode(root, path)
        if stat.S_ISDIR(mode):
            yield from _nested(root, path, warn)
        elif mode:
            yield path


def _nested(root: bytes, path: bytes, warn: Warn) -> list[bytes]:
    """The files of a submodule or a nested repository."""
    folder = os.path.join(root, path)
    found = None
    if os.path.lexists(os.path.join(folder, _GIT_DIR)):
        found = _git_files(root, path, warn)
    if found is None:
        found = [os.path.join(path, name) for name in _walk(folder, frozenset(), warn)]
    return found


def _mode(root: bytes, path: bytes) -> int:
    """The entry's type and mode, 0 if there is none."""
    try:
        return os.lstat(os.path.join(root, path)).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _git(folder: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN_GIT}
    env.update(LC_ALL="C", GIT_OPTIONAL_LOCKS="0", GIT_TERMINAL_PROMPT="0")
    return subprocess.run(
        # A monitor is a program that the repository names: listing files must not start one.
        ["git", "-c", "core.fsmonitor=false", *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=GIT_TIMEOUT,
        check=False,
    )


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines()


def _fall_back(folder: bytes, reason: str, warn: Warn) -> None:
    warn(
        f"cannot ask git which files of {shown(folder)} belong to it ({reason}); "
        "packing all that its .gitignore files let pass"
    )
