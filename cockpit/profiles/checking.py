"""The check of one file: parsed tables in, checked values and every problem out.

`check_document` is called once for each file. What concerns several keys or several files (unknown
clusters, hosts named twice, exactly one of script, module and command) is the assembly's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import msgspec.inspect as mi

from cockpit.errors import UsageError
from cockpit.profiles import environment
from cockpit.profiles.document import Document
from cockpit.profiles.hosts import expand_hosts
from cockpit.profiles.keys import Path, dotted
from cockpit.profiles.keytable import check_keys
from cockpit.profiles.rules import ENTRY_RULES, ENTRY_VALUE_RULES, ONE_OR_MANY, RULES
from cockpit.profiles.types import (
    Cluster,
    JobProfile,
    Launcher,
    NodeSpec,
    Notify,
    Rule,
    Screen,
)
from cockpit.profiles.values import INVALID, check, found
from cockpit.protocol.secretref import SecretRef

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "clusters": Cluster,
    "launchers": Launcher,
    "jobs": JobProfile,
    "rules": Rule,
}
"""Tables of profiles, `[SECTION.NAME]`."""
SINGLES: dict[str, type[msgspec.Struct]] = {"screen": Screen, "notify": Notify}
"""Tables that are there once."""
KEYS = "keys"
"""The table of key bindings, whose entries have names of their own."""
MAX_NAME = 128
"""Characters of a profile's or a job's name."""

PlacedNode = tuple[int, NodeSpec]
"""A node, and the index of the list's item that it came from."""

_PASSWORD = re.compile(r"pass(word|wd|phrase)", re.IGNORECASE)


def fields(record: type) -> dict[str, mi.Field]:
    """The keys that a table of a configuration file may hold for a record, with their types."""
    info = mi.type_info(record)
    assert isinstance(info, (mi.StructType, mi.DataclassType))
    named_by_header = record in SECTIONS.values()
    return {f.name: f for f in info.fields if not (named_by_header and f.name == "name")}


def names(record: type[msgspec.Struct]) -> tuple[str, ...]:
    """The same without their types, which take long to look into."""
    left_out = "name" if record in SECTIONS.values() else None
    return tuple(name for name in record.__struct_fields__ if name != left_out)


def check_document(document: Document) -> None:
    """Fill `document.sections` from `document.data`, reporting every problem of the file."""
    for section, profiles in document.data.items():
        if section in SINGLES or section == KEYS:
            document.singles[section] = _single(document, section, profiles)
        elif section not in SECTIONS:
            _unknown(document, (section,), [*SECTIONS, *SINGLES, KEYS], "table")
        elif not isinstance(profiles, dict):
            document.report(
                (section,),
                f"{section} must be a table of profiles, not {found(profiles)}",
                f"write [{section}.NAME]",
            )
        else:
            document.sections[section] = {
                name: _profile(document, section, name, table) for name, table in profiles.items()
            }


def _single(document: Document, section: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        document.report(
            (section,),
            f"{section} must be a table, not {found(table)}",
            f"write [{section}] above its keys",
        )
        return {}
    if section == KEYS:
        return check_keys(document, (section,), table)
    return _table(document, (section,), table, SINGLES[section])


def _profile(document: Document, section: str, name: str, table: Any) -> dict[str, Any]:
    path: Path = (section, name)
    if not name.strip() or not name.isprintable() or name[0] == "-" or len(name) > MAX_NAME:
        document.report(
            path,
            f"{dotted(path)[:60]}: {name[:40]!r} cannot be the name of a profile",
            f"printable text of at most {MAX_NAME} characters without a leading dash",
        )
    if not isinstance(table, dict):
        near = f"{section}.{name}" if name in names(SECTIONS[section]) else dotted(path)
        document.report(
            path,
            f"{near} must be a table, not {found(table)}",
            f"every profile has a name: write [{section}.NAME] above its keys",
        )
        return {}
    return _table(document, path, table, SECTIONS[section])


def _table(document: Document, path: Path, table: dict[str, Any], record: type) -> dict[str, Any]:
    """Checked values of one table by key. Unknown keys are reported and left out."""
    known = fields(record)
    result: dict[str, Any] = {}
    for key, value in table.items():
        place = (*path, key)
        if key not in known:
            _unknown(document, place, list(known), "key")
        elif key == "secrets":
            result[key] = _secrets(document, place, value)
        elif record is Cluster and key in ("nodes", "spares"):
            result[key] = _nodes(document, place, value)
        else:
            result[key] = _value(document, place, value, record, known[key].type)
        entries = result.get(key)
        if isinstance(entries, dict):
            _check_entries(document, place, entries, (record, key))
    return result


def _check_entries(
    document: Document, path: Path, entries: dict[str, Any], key: tuple[type, str]
) -> None:
    """Hold the names and values of a table to the rules for `key`."""
    of_name, of_value = ENTRY_RULES.get(key), ENTRY_VALUE_RULES.get(key)
    for name, value in entries.items():
        place = (*path, name)
        good = of_name is None or _obeys(document, place, of_name, name)
        if good and of_value is not None and value is not INVALID:
            good = _obeys(document, place, of_value, value)
        if not good:
            entries[name] = INVALID


def _value(document: Document, path: Path, value: Any, record: type, expected: mi.Type) -> Any:
    key = str(path[-1])
    if key == "executor" and value == "slurm":
        document.report(
            path,
            f'{dotted(path)}: executor "slurm" is not there yet',
            'there are "ssh" and "local"',
        )
        return INVALID
    if key in ONE_OR_MANY and isinstance(value, str):
        value = [value]
    value = check(expected, value, path, document)
    rule = RULES.get((record, key))
    if rule is not None and value is not INVALID and value is not None:
        try:
            return rule(value, document.base)
        except UsageError as error:
            document.report(path, f"{dotted(path)}: {error.message}", error.hint)
            return INVALID
    if key == "env" and isinstance(value, dict):
        _warn_of_secrets(document, path, value)
    return value


def _obeys(document: Document, path: Path, rule: Callable[[Any], None], value: Any) -> bool:
    try:
        rule(value)
    except UsageError as error:
        document.report(path, f"{dotted(path)}: {error.message}", error.hint)
        return False
    return True


def _warn_of_secrets(document: Document, path: Path, table: dict[str, Any]) -> None:
    for name, value in table.items():
        if value and value is not INVALID and environment.looks_secret(name):
            document.report(
                (*path, name),
                f"{dotted((*path, name))} looks like a secret, and files are read by others",
                f'write secrets = {{ {name} = {{ env = "{name}" }} }} instead',
                "warning",
            )


def _secrets(document: Document, path: Path, value: Any) -> Any:
    if not isinstance(value, dict):
        document.report(
            path,
            f"{dotted(path)} must be a table, not a value",
            'write { HF_TOKEN = { env = "HF_TOKEN" } }',
        )
        return INVALID
    return {name: _secret(document, (*path, name), name, ref) for name, ref in value.items()}


def _secret(document: Document, path: Path, name: str, ref: Any) -> Any:
    if not isinstance(ref, dict):
        document.report(
            path,
            f"{dotted(path)} must say where the value is found, not the value itself",
            f'{{ env = "{name}" }}, {{ cmd = ["pass", "show", "{name}"] }} or {{ file = "~/…" }}',
        )
        return INVALID
    values = _table(document, path, ref, SecretRef)
    if len(values) != 1:
        document.report(
            path,
            f"{dotted(path)} must have exactly one of env, cmd and file",
            f"it has {' and '.join(sorted(values)) or 'none of them'}",
        )
        return INVALID
    return INVALID if INVALID in values.values() else SecretRef(**values)


def _nodes(document: Document, path: Path, value: Any) -> tuple[PlacedNode, ...] | Any:
    if not isinstance(value, list):
        document.report(
            path,
            f"{dotted(path)} must be a list of hosts, not {found(value)}",
            'write ["gpu[01-04].lab"]',
        )
        return INVALID
    nodes: list[PlacedNode] = []
    for index, item in enumerate(value):
        try:
            nodes += [(index, node) for node in _node(document, (*path, index), item)]
        except UsageError as error:
            place = (*path, index)
            document.report(place, f"{dotted(place)}: {error.message}", error.hint)
    return tuple(nodes)


def _node(document: Document, path: Path, item: Any) -> list[NodeSpec]:
    """The nodes that one item of the list stands for. Raises UsageError on a bad one."""
    if isinstance(item, str):
        return [NodeSpec(name=host, host=host) for host in expand_hosts(item)]
    if not isinstance(item, dict):
        raise UsageError(
            f"a node is a host or a table, not {found(item)}", 'write "gpu01.lab" or { host = … }'
        )
    before = len(document.problems)
    values = _table(document, path, item, NodeSpec)
    if len(document.problems) > before:
        return []
    if "host" not in values:
        raise UsageError("a node needs a host", 'write { host = "gpu01.lab" }')
    hosts = expand_hosts(values.pop("host"))
    names = _alongside("name", values.pop("name", None), hosts) or hosts
    addrs = _alongside("addr", values.pop("addr", None), hosts) or [""] * len(hosts)
    return [
        NodeSpec(name=name, host=host, addr=addr, **values)
        for name, host, addr in zip(names, hosts, addrs, strict=True)
    ]


def _alongside(key: str, pattern: str | None, hosts: list[str]) -> list[str]:
    """The names or addresses that go with a range of hosts, one each."""
    if not pattern:
        return []
    values = expand_hosts(pattern)
    if len(values) != len(hosts):
        raise UsageError(
            f"{key} {pattern!r} stands for {len(values)}, but there are {len(hosts)} hosts",
            f"give {key} a range of the same length",
        )
    return values


def _unknown(document: Document, path: Path, known: list[str], what: str) -> None:
    key = str(path[-1])
    if _PASSWORD.search(key):
        document.report(
            path,
            f"{dotted(path)}: no password belongs in a file, and cockpit takes none",
            "load the key into ssh-agent, or name a key file with identity_file",
        )
        return
    import difflib

    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, 1)
    tables = {**SECTIONS, **SINGLES}
    homes = [section for section, record in tables.items() if key in names(record)]
    if key == "name" and what == "key":
        hint = "a profile's name is the last word of its header"
    elif homes and what == "key":
        hint = f"{key} is a key of {' and '.join(homes)}"
    elif near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"known here: {', '.join(sorted(known))}"
    document.report(path, f"{dotted(path)}: unknown {what}", hint)
