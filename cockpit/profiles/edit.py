"""Changes to a configuration file that keep everything else in it: comments, order, spacing.

Called by the profile editor and `cockpit profiles`. A file is replaced in one step or not at all,
and never by one that does not validate.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cockpit.errors import ConfigError, Problem, UsageError
from cockpit.profiles import keys
from cockpit.profiles.loading import check_texts, config_files, same_file
from cockpit.profiles.rewriting import with_value, without

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BOM = b"\xef\xbb\xbf"


def set_value(
    path: Path, dotted_key: str, value: object, *, others: Sequence[Path] | None = None
) -> None:
    """Set one key of a file, which is made if it is not there: `clusters.lab.user` to "ada".

    `value` is a string, number, boolean, list or dictionary. The file is checked together with
    `others`, the further files in force behind it (by default the user's own), before it is
    written. Raises ConfigError if the outcome would not validate, UsageError if the key cannot be
    set there or the file cannot be read or written; the file is as it was then.
    """
    parts = keys.split(dotted_key)
    _edit(path, [_setting(path, parts, value)], _together(path, others))


def delete(path: Path, dotted_key: str, *, others: Sequence[Path] | None = None) -> None:
    """Remove one key, or a whole profile, from a file. Raises as `set_value`, and UsageError if
    the file does not have the key.
    """
    _edit(path, [_removal(path, keys.split(dotted_key))], _together(path, others))


def change(
    path: Path,
    values: Mapping[tuple[str, ...], object],
    *,
    removed: Collection[tuple[str, ...]] = (),
    files: Sequence[Path] | None = None,
) -> None:
    """Set and remove several keys of a file at once, by the parts of their names; all or nothing.

    `files` are those in force, nearest first, among which `path` is or goes to the front. Raises
    as `delete`.
    """
    changes = [_removal(path, parts) for parts in removed]
    changes += [_setting(path, parts, value) for parts, value in values.items()]
    together = _together(path, None) if files is None else list(files)
    if not any(same_file(path, file) for file in together):
        together.insert(0, path)
    _edit(path, changes, together)


class _Change(NamedTuple):
    """What is done to the text of a file, and what its data shall be thereafter."""

    rewrite: Callable[[str], str]
    expect: Callable[[dict[str, Any]], None]


def _setting(path: Path, parts: tuple[str, ...], value: object) -> _Change:
    dotted_key = keys.dotted(parts)
    plain = _plain(value, dotted_key)

    def rewrite(text: str) -> str:
        try:
            return with_value(text, parts, plain)
        except ValueError as error:
            raise UsageError(f"{dotted_key} cannot be set in {path}: {error}") from error

    def expect(data: dict[str, Any]) -> None:
        for part in parts[:-1]:
            data = data.setdefault(part, {})
        data[parts[-1]] = plain

    return _Change(rewrite, expect)


def _removal(path: Path, parts: tuple[str, ...]) -> _Change:
    def rewrite(text: str) -> str:
        try:
            return without(text, parts)
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"{keys.dotted(parts)} is not set in {path}", "see `cockpit profiles show`"
            ) from error

    def expect(data: dict[str, Any]) -> None:
        for part in parts[:-1]:
            data = data[part]
        del data[parts[-1]]

    return _Change(rewrite, expect)


def _together(path: Path, others: Sequence[Path] | None) -> list[Path]:
    return [path, *(config_files(path)[1:] if others is None else others)]


def _edit(path: Path, changes: Sequence[_Change], files: Sequence[Path]) -> None:
    """Change the text of a file, make sure that it says what is expected, and put it in place.

    `files`: all that are checked together, nearest first, `path` among them.
    """
    old = _read(path)
    raw = (old or b"").removeprefix(_BOM)
    try:
        text = raw.decode()
        data = tomllib.loads(text)
    except ValueError as error:
        raise _refused(path, check_texts({path: old})[1]) from error
    windows = "\r\n" in text
    changed = text.replace("\r\n", "\n")
    for change in changes:
        changed = change.rewrite(changed)
        change.expect(data)
    if not _says(changed, data):
        raise UsageError(
            f"{path} is written in a way that this change cannot be made without loss",
            "change it with a text editor",
        )
    if windows:
        changed = changed.replace("\n", "\r\n")
    new = (_BOM if old is not None and old.startswith(_BOM) else b"") + changed.encode()
    texts = {file: new if same_file(path, file) else None for file in files}
    config, problems = check_texts(texts)
    if config is None:
        raise _refused(path, problems)
    _replace(path, old, new)


def _says(text: str, data: dict[str, Any]) -> bool:
    """Whether a text holds exactly these data; an empty section is as good as none."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return _filled(found) == _filled(data)


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    return {section: profiles for section, profiles in data.items() if profiles != {}}


def _refused(path: Path, problems: Sequence[Problem]) -> ConfigError:
    errors = [problem for problem in problems if problem.level == "error"]
    return ConfigError(errors or [Problem("the file cannot be changed", str(path))])


def _plain(value: object, dotted_key: str) -> Any:
    """A value as the parser would give it. Raises UsageError if TOML has no such thing."""
    if isinstance(value, dict):
        return {str(key): _plain(inner, f"{dotted_key}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, dotted_key) for inner in value]
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{dotted_key} cannot be set to text that is not UTF-8") from error
    elif not isinstance(value, (bool, int, float)):
        raise UsageError(
            f"{dotted_key} cannot be set to {value!r}", "text, a number, true, false, or a list"
        )
    return value


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _replace(path: Path, old: bytes | None, new: bytes) -> None:
    """Put `new` in the place of `old` in one step; a symlink stays one, mode and owner are kept."""
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        os.makedirs(folder, exist_ok=True)
        present = os.stat(target) if old is not None else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600 if present else 0o666)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(new)
                stream.flush()
                if present:
                    with contextlib.suppress(PermissionError):
                        os.fchown(descriptor, present.st_uid, present.st_gid)
                    os.fchmod(descriptor, stat.S_IMODE(present.st_mode))
                os.fsync(descriptor)
            _check_unchanged(path, old)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _check_unchanged(path: Path, old: bytes | None) -> None:
    if _read(path) != old:
        raise UsageError(
            f"{path} was changed by somebody else meanwhile", "look at it, and try again"
        )


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
