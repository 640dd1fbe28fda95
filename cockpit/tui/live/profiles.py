"""The desk of the Profiles view on real files and a controller; threads read and write."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cockpit import profiles
from cockpit.controller import Controller
from cockpit.errors import CockpitError, ConfigError, Problem, UsageError
from cockpit.model.doctor import Report
from cockpit.profiles import Cluster, Config, Written
from cockpit.profiles.loading import FILE_NAME, VARIABLE, same_file
from cockpit.text import count_of
from cockpit.transport import trust
from cockpit.tui.profile.desk import FileChoice, FoundKey, Key
from cockpit.tui.profile.rows import read_docs

_STATES = {"unknown": "new"}


class _Read(NamedTuple):
    """What was found on the disk at one moment. `config` is None where it holds an error."""

    stamp: tuple[object, ...]
    config: Config | None
    problems: Sequence[Problem]
    written: Sequence[Written]
    files: Sequence[FileChoice]
    here: str


class LiveProfileDesk:
    """Satisfies `cockpit.tui.profile.desk.ProfileDesk`. `named` is the file of `--config`."""

    def __init__(self, controller: Controller, named: Path | None = None) -> None:
        self._controller = controller
        self._named = named
        self._read = _Read((), None, controller.config.warnings, (), (), "")
        self._offers: dict[tuple[str, FoundKey], trust.OfferedKey] = {}

    @property
    def config(self) -> Config:
        return self._controller.config

    @property
    def written(self) -> Sequence[Written]:
        return self._read.written

    @property
    def problems(self) -> Sequence[Problem]:
        return self._read.problems

    @property
    def files(self) -> Sequence[FileChoice]:
        return self._read.files

    @property
    def here(self) -> str:
        return self._read.here

    @property
    def target(self) -> Path:
        if self.files:
            return self.files[0].path
        try:
            return _choices(self._named)[0].path
        except ConfigError:
            return profiles.user_file(os.environ)

    async def reload(self) -> Sequence[Problem]:
        self._read = await asyncio.to_thread(_look, self._named, self._read)
        config = self._read.config
        if config is not None:
            config = profiles.with_added(config, self.config)
            if config != self.config:
                self._controller.reconfigure(config)
        return self.problems

    async def changed_on_disk(self) -> bool:
        return await asyncio.to_thread(_stamp, self._named) != self._read.stamp

    async def change(
        self, path: Path, values: Mapping[Key, object], removed: Collection[Key] = ()
    ) -> None:
        def write() -> None:
            files = profiles.config_files(self._named)
            profiles.change(path, values, removed=removed, files=_with(path, files))

        await asyncio.to_thread(write)
        await self.reload()

    async def test(self, cluster: str) -> Report:
        for spec in self._cluster(cluster).nodes:
            self._controller.retry(spec.name)
        return await self._controller.doctor([cluster])

    async def host_keys(self, cluster: str) -> Sequence[FoundKey]:
        profile = self._cluster(cluster)
        if profile.executor == "local":
            raise UsageError(f"{cluster} is this machine: there is no host key to trust")
        found = []
        for offered in await trust.scan(profile, (*profile.nodes, *profile.spares)):
            key = FoundKey(
                offered.node,
                offered.host,
                offered.key_type,
                offered.fingerprint,
                _STATES.get(offered.state, offered.state),
                offered.why,
                offered.known,
                offered.file,
            )
            self._offers[cluster, key] = offered
            found.append(key)
        return found

    async def trust(self, cluster: str, keys: Sequence[FoundKey]) -> Sequence[str]:
        offers = [self._offers[cluster, key] for key in keys]
        try:
            written = await asyncio.to_thread(trust.remember, offers)
        except OSError as error:
            raise CockpitError(f"the host keys cannot be remembered: {error}") from error
        for spec in (*self._cluster(cluster).nodes, *self._cluster(cluster).spares):
            self._controller.retry(spec.name)
        return [f"{count_of(count, 'key')} written to {file}" for file, count in written.items()]

    def _cluster(self, name: str) -> Cluster:
        cluster = self.config.clusters.get(name)
        if cluster is None:
            known = ", ".join(sorted(self.config.clusters))
            raise UsageError(f"there is no cluster {name!r}", f"there are {known}")
        return cluster


def _look(named: Path | None, before: _Read) -> _Read:
    """What is there now; where nothing can be looked at, what was there `before` and why."""
    # The stamp comes first: what is written while it is read shows as a change.
    stamp = _stamp(named)
    problems: Sequence[Problem]
    try:
        return _found(stamp, named)
    except ConfigError as error:
        problems = error.problems
    except OSError as error:
        problems = (Problem(f"the profiles cannot be read: {error.strerror or error}"),)
    return before._replace(stamp=stamp, config=None, problems=problems)


def _found(stamp: tuple[object, ...], named: Path | None) -> _Read:
    """Raises OSError, and ConfigError where there is no folder to look in."""
    files = profiles.config_files(named)
    config: Config | None
    try:
        config = profiles.load(named)
        problems: Sequence[Problem] = config.warnings
    except ConfigError:
        config, problems = profiles.check(files)
    written = profiles.read_written(files)
    read_docs()  # A form wants them at once.
    return _Read(stamp, config, problems, written, _choices(named), str(Path.cwd()))


def _stamp(named: Path | None) -> tuple[object, ...]:
    """Equal as long as the same files are in force and none of them was written."""
    try:
        files = profiles.config_files(named)
    except ConfigError as error:
        return (error.message,)
    found: list[object] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append(file)
        else:
            found.append((file, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def _choices(named: Path | None) -> list[FileChoice]:
    own = profiles.user_file(os.environ)
    near = [file for file in profiles.config_files(named) if not same_file(file, own)]
    what = "named" if named or os.environ.get(VARIABLE) else "project"
    first = near[0] if near else Path.cwd() / FILE_NAME
    choices = [FileChoice(first, what, first.is_file())]
    if not same_file(first, own):
        choices.append(FileChoice(own, "yours", own.is_file()))
    return choices


def _with(path: Path, files: Sequence[Path]) -> list[Path]:
    """The files in force once `path` is written: your own goes to the end."""
    if any(same_file(path, file) for file in files):
        return list(files)
    own = same_file(path, profiles.user_file(os.environ))
    return [*files, path] if own else [path, *files]
