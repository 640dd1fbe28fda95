"""What the Profiles view shows: the tree of all profiles, and the values of one with their sources.

Pure functions of the profiles in force, of what the files say by themselves and of the fleet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from cockpit.errors import Problem
from cockpit.model.types import Fleet, LinkState
from cockpit.profiles import Config, Source, descriptions, key_of
from cockpit.profiles.checking import KEYS, SECTIONS, SINGLES, fields
from cockpit.profiles.keys import dotted
from cockpit.profiles.merging import BY_ENTRY
from cockpit.profiles.written import Written
from cockpit.text import count_of
from cockpit.tui.actions.base import Action, key_name
from cockpit.tui.profile.text import hidden, toml_text

ABOUT = {
    "screen": "how the screen begins",
    "notify": "how it asks for attention",
    "keys": "keys of actions",
}
SINGULAR = {"clusters": "cluster", "launchers": "launcher", "jobs": "job", "rules": "rule"}

NO_DOCS: Mapping[str, str] = {}


class Entry(NamedTuple):
    """A row of the tree. `name` is "" for a heading and for a table without a name; `heading`:
    it has profiles below it. `online`: nodes of a cluster that are, and of how many; `connecting`:
    nodes that were not reached yet and may well be."""

    section: str
    name: str = ""
    heading: bool = False
    folded: bool = False
    size: int = 0
    problems: int = 0
    online: tuple[int, int] | None = None
    connecting: int = 0
    remark: str = ""

    @property
    def key(self) -> str:
        return dotted((self.section, self.name) if self.name else (self.section,))


class ValueRow(NamedTuple):
    """A row of the values. `depth` 1 is an entry of a table such as `env`. `sources`: the file
    that set it, then those that say something else in vain; empty for a default."""

    key: str
    text: str
    doc: str = ""
    depth: int = 0
    sources: tuple[Source, ...] = ()
    problem: str = ""

    @property
    def default(self) -> bool:
        return not self.sources


def entries(
    config: Config,
    problems: Sequence[Problem],
    fleet: Fleet,
    folded: Collection[str] = (),
) -> list[Entry]:
    """All rows of the tree."""
    rows: list[Entry] = []
    for section in SECTIONS:
        names: Mapping[str, Any] = getattr(config, section)
        closed = section in folded
        rows.append(
            Entry(section, heading=True, folded=closed, size=len(names),
                  problems=_problems_of((section,), problems))
        )  # fmt: skip
        if not closed:
            rows += [_profile(section, name, names[name], problems, fleet) for name in names]
    for section in (*SINGLES, KEYS):
        found = _problems_of((section,), problems)
        rows.append(Entry(section, problems=found, remark=ABOUT[section]))
    return rows


def _profile(
    section: str, name: str, profile: Any, problems: Sequence[Problem], fleet: Fleet
) -> Entry:
    online, connecting, remark = None, 0, ""
    if section == "clusters":
        nodes = [node for node in fleet.nodes if node.cluster == name]
        up = sum(1 for node in nodes if node.link.state is LinkState.ONLINE)
        online = (up, len(nodes))
        connecting = sum(1 for node in nodes if node.link.state is LinkState.CONNECTING)
        remark = count_of(len(profile.nodes), "node")
    elif section == "launchers":
        remark = profile.kind
    elif section == "jobs":
        remark = f"on {profile.cluster}"
    elif section == "rules":
        remark = profile.cause
    found = _problems_of((section, name), problems)
    return Entry(section, name, problems=found, online=online, connecting=connecting, remark=remark)


def _problems_of(path: tuple[str, ...], problems: Sequence[Problem]) -> int:
    key = dotted(path)
    return sum(1 for problem in problems if f"{problem.key}.".startswith((f"{key}.", f"{key}[")))


def values(
    config: Config,
    written: Sequence[Written],
    problems: Sequence[Problem],
    section: str,
    name: str = "",
    docs: Mapping[str, str] = NO_DOCS,
) -> list[ValueRow]:
    """The effective values of a profile or of `[screen]` and `[notify]`, in the order of the
    types. A profile that is in no valid configuration has no rows. `docs`: of its section."""
    record = SECTIONS.get(section) or SINGLES[section]
    profile = getattr(config, section)
    profile = profile.get(name) if section in SECTIONS else profile
    if profile is None:
        return []
    path = (section, name) if name else (section,)
    wrong: dict[str, str] = {}
    for problem in problems:
        if f"{problem.key}.".startswith((f"{dotted(path)}.", f"{dotted(path)}[")):
            wrong.setdefault(key_of(section, problem), problem.message)
    rows: list[ValueRow] = []
    for key in fields(record):
        value = getattr(profile, key)
        sources = _sources(config, written, (*path, key))
        entry = key in BY_ENTRY and bool(value)
        raw = _raw(written, sources[0] if sources else None, (*path, key))
        shown = "" if entry else _shown(value if raw is None else raw)
        rows.append(ValueRow(key, shown, docs.get(key, ""), 0, sources, wrong.get(key, "")))
        for inner in value if entry else ():
            place = _sources(config, written, (*path, key, inner))
            said = _raw(written, place[0] if place else None, (*path, key, inner))
            text = toml_text(hidden(inner, plain(value[inner]) if said is None else said))
            rows.append(ValueRow(f"{key}.{inner}", text, docs.get(key, ""), 1, place))
    return rows


def read_docs() -> dict[str, Mapping[str, str]]:
    """What every key means, by section. The first call reads the disk."""
    return {name: descriptions(record) for name, record in {**SECTIONS, **SINGLES}.items()}


def key_rows(
    config: Config, written: Sequence[Written], actions: Sequence[Action]
) -> list[ValueRow]:
    """Every action with its keys, those of `[keys]` with their places; then ids of no action."""
    usual = {action.id: action for action in actions}
    rows = []
    for action_id in (*usual, *(key for key in config.keys if key not in usual)):
        action = usual.get(action_id)
        set_keys = config.keys.get(action_id)
        names = [key_name(key) for key in (action.keys if action else set_keys or ())]
        rows.append(
            ValueRow(
                action_id,
                " ".join(names) or "no key",
                action.title if action else "",
                0,
                _sources(config, written, (KEYS, action_id)),
                "" if action else "there is no such action",
            )
        )
    return rows


def _sources(
    config: Config, written: Sequence[Written], path: tuple[str, ...]
) -> tuple[Source, ...]:
    """The source in force first; none where it is cockpit's own default."""
    winner = config.sources.get(dotted(path), Source())
    if not winner.file:
        return ()
    others = [found for each in written if (found := each.source(*path)) is not None]
    return (winner, *(other for other in others if other.file != winner.file))


def _raw(written: Sequence[Written], source: Source | None, path: tuple[str, ...]) -> object:
    """What stands there, as the file has it; None where that is not known."""
    file = source.file if source is not None else ""
    found: object = next((each.data for each in written if str(each.file) == file), None)
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _shown(value: object) -> str:
    return "unset" if value is None else toml_text(plain(value))


def plain(value: object) -> Any:
    """Records as tables, without what is unset; nodes that are just a host as that."""
    made = msgspec.to_builtins(value)
    if isinstance(made, (list, tuple)):
        return [_host(item) if isinstance(item, dict) else item for item in made]
    if isinstance(made, dict):
        return {key: inner for key, inner in made.items() if inner not in (None, [], ())}
    return made


def _host(node: dict[str, Any]) -> object:
    kept = {key: inner for key, inner in node.items() if inner not in (None, "")}
    simple = kept.keys() == {"name", "host"} and kept["name"] == kept["host"]
    return node["host"] if simple else kept
