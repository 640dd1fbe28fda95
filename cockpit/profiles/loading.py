"""Which configuration files are in force, and what they say together.

`config_files` looks for the files, `check` tells every problem of them, and `load` gives the
profiles to everybody else or raises.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from cockpit.errors import ConfigError, Problem
from cockpit.profiles import document as documents
from cockpit.profiles.assembly import assemble, built_in
from cockpit.profiles.checking import check_document
from cockpit.profiles.document import Document
from cockpit.profiles.keys import quote
from cockpit.profiles.types import Cluster, Config

FILE_NAME = "cockpit.toml"
VARIABLE = "COCKPIT_CONFIG"


def config_files(
    explicit: Path | None = None,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """The configuration files in force, nearest first, absolute.

    The first is `explicit`, else what $COCKPIT_CONFIG names, else the nearest `cockpit.toml` from
    `cwd` upwards; the second is the one in the user's configuration folder. The search leaves out
    what is not there, but a file that was named is returned in any case. Raises ConfigError where
    the current folder was deleted.
    """
    environ = os.environ if environ is None else environ
    here = _here(cwd)
    named = explicit or environ.get(VARIABLE)
    found = [here / os.path.expanduser(named)] if named else _upwards(here)[0]
    own = user_file(environ)
    if _is_file(own) and not any(same_file(own, file) for file in found):
        found.append(own)
    return tuple(found)


def load(
    explicit: Path | None = None,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The profiles in force. Raises ConfigError with every problem of every file.

    `explicit` is the file of `--config`. Warnings stop nothing; they are in `Config.warnings`.
    """
    files = config_files(explicit, cwd=cwd, environ=environ)
    config, problems = check(files, cwd=cwd, environ=environ)
    if config is None:
        raise ConfigError([problem for problem in problems if problem.level == "error"])
    named = explicit or (os.environ if environ is None else environ).get(VARIABLE)
    left_out = [] if named else _upwards(_here(cwd))[1]
    return msgspec.structs.replace(config, warnings=(*left_out, *config.warnings))


def check(
    files: Sequence[Path], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Config | None, list[Problem]]:
    """What the files say together, nearest first, and every problem of all of them.

    The profiles are None if any problem is an error. Without files they are the built-in ones.
    """
    return check_texts(dict.fromkeys(files), cwd=cwd, environ=environ)


def check_texts(
    texts: Mapping[Path, bytes | None],
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Config | None, list[Problem]]:
    """As `check`, with the bytes to take for a file instead of what is on the disk."""
    own = user_file(os.environ if environ is None else environ)
    here = str(_here(cwd))
    read = []
    for file, text in texts.items():
        base = here if same_file(file, own) else documents.folder_of(file)
        if text is None:
            document = documents.read(file, base)
        else:
            document = Document(str(file), base, unread=True)
            documents.parse(document, text)
        check_document(document)
        read.append(document)
    config = assemble([*read, built_in()])
    problems = [problem for document in read for problem in document.problems]
    order = {str(file): index for index, file in enumerate(texts)}
    problems.sort(key=lambda p: (order.get(p.file, len(order)), p.line, p.column))
    return config, problems


def builtin() -> Config:
    """The profiles that are there without any file: this machine, and torchrun."""
    config = assemble([built_in()])
    assert config is not None
    return config


def with_cluster(config: Config, cluster: Cluster) -> Config:
    """`config` with one more cluster, which no file names; one of the same name is replaced."""
    return msgspec.structs.replace(config, clusters={**config.clusters, cluster.name: cluster})


def with_added(config: Config, before: Config) -> Config:
    """`config`, newly loaded, with the clusters that `with_cluster` had put into `before`."""
    added = {
        name: cluster
        for name, cluster in before.clusters.items()
        if f"clusters.{quote(name)}.nodes" not in before.sources
    }
    return msgspec.structs.replace(config, clusters={**config.clusters, **added})


def user_file(environ: Mapping[str, str]) -> Path:
    """`cockpit.toml` in the user's configuration folder, whether it is there or not."""
    folder = environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(folder):
        return Path(folder, "cockpit", FILE_NAME)
    from platformdirs import user_config_path

    return user_config_path("cockpit", appauthor=False) / FILE_NAME


def _here(cwd: Path | None) -> Path:
    """The folder from which files are looked for. Raises ConfigError where there is none."""
    try:
        return Path(os.path.abspath(cwd or "."))
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(
            [Problem(f"the current folder cannot be read: {why}", hint="go to another folder")]
        ) from error


def _upwards(folder: Path) -> tuple[list[Path], list[Problem]]:
    """The nearest file (or none) from `folder` upwards, and warnings of those left out."""
    left_out: list[Problem] = []
    for candidate in (folder, *folder.parents):
        file = candidate / FILE_NAME
        if not _is_file(file):
            continue
        if not _planted(file):
            return [file], left_out
        left_out.append(
            Problem(
                "left out: it is another user's file in a folder that everybody may write to",
                str(file),
                hint=f"name it with --config or ${VARIABLE} if you trust it",
                level="warning",
            )
        )
    return [], left_out


def _planted(file: Path) -> bool:
    """Whether a stranger may have put the file there, as in /tmp.

    A configuration names programs that run on this machine, so being found must not be enough.
    """
    folder, owner = file.parent.stat(), file.stat().st_uid
    return bool(folder.st_mode & stat.S_IWOTH) and owner not in (0, os.getuid())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, which need not be there."""
    return os.path.realpath(one) == os.path.realpath(other)
