"""Desks for the Profiles view: one in memory, and one on real files with a straw controller."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cockpit import profiles
from cockpit.errors import Problem
from cockpit.model.doctor import Finding, Level, Patient, Report
from cockpit.profiles import Config, Written
from cockpit.tui.live.profiles import LiveProfileDesk
from cockpit.tui.profile.desk import FileChoice, FoundKey, Key

FILE = Path("/project/cockpit.toml")


class FakeDesk:
    """One file that says one thing of the built-in cluster. Remembers what it was asked."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.written: Sequence[Written] = (
            Written(
                FILE,
                {"clusters": {"local": {"sync": False}}},
                {("clusters",): 1, ("clusters", "local"): 1, ("clusters", "local", "sync"): 2},
            ),
        )
        self.problems: Sequence[Problem] = ()
        self.files: Sequence[FileChoice] = (FileChoice(FILE, "project", True),)
        self.target = FILE
        self.here = "/project"
        self.reloads = 0
        self.changes: list[tuple[Path, dict[Key, object], list[Key]]] = []
        self.keys: list[FoundKey] = []
        self.trusted: list[FoundKey] = []
        self.failure: Exception | None = None

    @property
    def config(self) -> Config:
        config: Config = self._source.config
        return config

    async def reload(self) -> Sequence[Problem]:
        self.reloads += 1
        return self.problems

    async def changed_on_disk(self) -> bool:
        return False

    async def change(
        self, path: Path, values: Mapping[Key, object], removed: Collection[Key] = ()
    ) -> None:
        self._fail()
        self.changes.append((path, dict(values), list(removed)))

    async def test(self, cluster: str) -> Report:
        self._fail()
        finding = Finding(
            node="local", check="disk", level=Level.WARN, message="little room", hint="tidy up"
        )
        fine = Finding(node="local", check="python", level=Level.OK, message="3.11")
        return Report(findings=(finding, fine))

    async def host_keys(self, cluster: str) -> Sequence[FoundKey]:
        self._fail()
        return list(self.keys)

    async def trust(self, cluster: str, keys: Sequence[FoundKey]) -> Sequence[str]:
        self._fail()
        self.trusted += keys
        self.keys = [key._replace(state="known") if key in keys else key for key in self.keys]
        return [f"{len(keys)} key written to /known_hosts"]

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Straw:
    """As much of a controller as a desk needs. `source`: a FakeSource that shows its profiles."""

    def __init__(self, config: Config, source: Any) -> None:
        self.source = source
        self.source.config = self.config = config
        self.taken: list[Config] = []
        self.retried: list[str] = []

    def reconfigure(self, config: Config) -> None:
        self.source.config = self.config = config
        self.taken.append(config)

    def retry(self, node: str) -> None:
        self.retried.append(node)

    async def doctor(self, clusters: Sequence[str]) -> Report:
        return Report(patients=tuple(Patient(cluster=name, node="n") for name in clusters))


class RealFiles:
    """A desk on the files in force. Made outside of the event loop: it reads the disk."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "cockpit.toml"
        self.own = folder / "config" / "cockpit" / "cockpit.toml"
        self.config = profiles.load()
        self.straw: Any = None

    def put_into(self, source: Any) -> LiveProfileDesk:
        self.straw = Straw(self.config, source)
        desk = LiveProfileDesk(self.straw)
        source.profiles = desk
        return desk
