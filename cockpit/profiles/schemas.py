"""JSON Schema of `cockpit.toml`, for editors that complete and check while somebody types.

Made from `types.py` and its docstrings. The schema knows types and limits; what only cockpit's own
check knows (references, duplicates, ranges) it lets pass.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
from typing import Any

import msgspec

from cockpit.profiles import types
from cockpit.profiles.checking import KEYS, SECTIONS, SINGLES
from cockpit.profiles.rules import ONE_OR_MANY, RDZV_CONF
from cockpit.profiles.types import NodeSpec
from cockpit.protocol.secretref import SecretRef

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SECRET_FIELDS = {
    "env": "A variable of the machine that cockpit runs on.",
    "cmd": "Program and arguments whose output is the value, less one newline.",
    "file": "A file on the machine that cockpit runs on, less one newline.",
}
_KEY_NAME = r"^(\S|[^\s,]+|[^\s,]+\+,)$"


def schema() -> dict[str, Any]:
    """The schema as JSON-ready dictionaries (draft 2020-12)."""
    _, definitions = msgspec.json.schema_components(
        [*SECTIONS.values(), *SINGLES.values(), NodeSpec, SecretRef], ref_template="#/$defs/{name}"
    )
    records: list[type[msgspec.Struct]] = [*SECTIONS.values(), *SINGLES.values(), NodeSpec]
    for record in records:
        _describe(definitions[record.__name__], record)
    for record in SECTIONS.values():
        table = definitions[record.__name__]
        table["properties"].pop("name")
        table.pop("required")
    _fit_cluster(definitions["Cluster"])
    _fit_launcher(definitions["Launcher"])
    _fit_secret(definitions["SecretRef"])
    definitions["NodeSpec"]["required"] = ["host"]
    for table in definitions.values():
        table["additionalProperties"] = False
        table.pop("title", None)
    return {
        "$schema": _DIALECT,
        "title": "cockpit.toml",
        "description": "Profiles of cockpit, and what its screen shall be like.",
        "type": "object",
        "properties": {
            section: {
                "description": inspect.getdoc(record),
                "type": "object",
                "additionalProperties": {"$ref": f"#/$defs/{record.__name__}"},
            }
            for section, record in SECTIONS.items()
        }
        | {section: {"$ref": f"#/$defs/{record.__name__}"} for section, record in SINGLES.items()}
        | {KEYS: _key_table()},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _key_table() -> dict[str, Any]:
    name = {"type": "string", "pattern": _KEY_NAME}
    choices = [{"enum": [""]}, name, {"type": "array", "items": name}]
    return {
        "description": 'Keys of the screen\'s actions by their ids; "" takes an action its keys.',
        "type": "object",
        "additionalProperties": {"anyOf": choices},
    }


@functools.cache
def descriptions(record: type) -> dict[str, str]:
    """The docstrings under the fields of a record of `types.py`, each on one line."""
    tree = ast.parse(inspect.getsource(types))
    body = next(
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == record.__name__
    )
    found: dict[str, str] = {}
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _describe(table: dict[str, Any], record: type[msgspec.Struct]) -> None:
    texts = descriptions(record)
    for name, definition in table["properties"].items():
        definition["description"] = texts[name]
        _without_null(definition)


def _without_null(definition: dict[str, Any]) -> None:
    """TOML has no null: an optional key is one that is left out."""
    choices = [c for c in definition.get("anyOf", ()) if c != {"type": "null"}]
    if len(choices) == 1:
        del definition["anyOf"]
        definition.update(choices[0])
    elif choices:
        definition["anyOf"] = choices
    if definition.get("default", ...) is None:
        del definition["default"]


def _fit_cluster(table: dict[str, Any]) -> None:
    for key in ("nodes", "spares"):
        items = {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/NodeSpec"}]}
        table["properties"][key]["items"] = items
    for key in ONE_OR_MANY:
        definition = table["properties"][key]
        kind, items = definition.pop("type"), definition.pop("items")
        definition["anyOf"] = [items, {"type": kind, "items": items}]


def _fit_launcher(table: dict[str, Any]) -> None:
    table["properties"]["rdzv_conf"]["propertyNames"] = {"enum": list(RDZV_CONF)}


def _fit_secret(table: dict[str, Any]) -> None:
    for name, definition in table["properties"].items():
        _without_null(definition)
        definition["description"] = _SECRET_FIELDS[name]
    table.pop("required", None)
    table["description"] = "Where the value is found at launch; exactly one key."
    table["minProperties"] = table["maxProperties"] = 1
