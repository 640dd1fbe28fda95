"""The schema, the reference page and the example say what the types say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types as python_types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cockpit import profiles
from cockpit.profiles import check, descriptions, load, schema
from cockpit.profiles.checking import SECTIONS, SINGLES, fields
from cockpit.profiles.rules import ONE_OR_MANY, RDZV_CONF
from cockpit.profiles.types import Cluster, JobProfile, Launcher, NodeSpec, Notify, Rule, Screen
from cockpit.protocol.secretref import SecretRef

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "cockpit.toml.example"
PAGE = ROOT / "docs" / "profiles.md"
RECORDS: dict[type, str] = {
    Cluster: "## Clusters",
    NodeSpec: "### Nodes",
    Launcher: "## Launchers",
    JobProfile: "## Jobs",
    Rule: "## Rules",
    Screen: "## The screen",
    Notify: "## Attention",
    SecretRef: "## Environment and secrets",
}

REQUIRED = {
    (Cluster, "nodes"),
    (NodeSpec, "host"),
    (NodeSpec, "name"),
    (Rule, "pattern"),
    (Rule, "cause"),
}


def conforms(value: Any, rule: dict[str, Any], root: dict[str, Any]) -> bool:
    """As much of JSON Schema as ours uses; an unknown keyword is an error."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool}
    for word, limit in rule.items():
        if word == "$ref":
            name = limit.removeprefix("#/$defs/")
            good = conforms(value, root["$defs"][name], root)
        elif word == "anyOf":
            good = any(conforms(value, choice, root) for choice in limit)
        elif word == "enum":
            good = value in limit
        elif word == "type" and limit in kinds:
            good = isinstance(value, kinds[limit])
        elif word == "type":
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            good = number and (limit == "number" or isinstance(value, int))
        elif word == "minimum":
            good = value >= limit
        elif word == "exclusiveMinimum":
            good = value > limit
        elif word == "maximum":
            good = value <= limit
        elif word in ("minLength", "minItems", "minProperties"):
            good = len(value) >= limit
        elif word == "maxProperties":
            good = len(value) <= limit
        elif word == "pattern":
            good = re.search(limit.replace("$", r"\Z"), value) is not None
        elif word == "items":
            good = all(conforms(item, limit, root) for item in value)
        elif word == "properties":
            good = all(conforms(v, limit[k], root) for k, v in value.items() if k in limit)
        elif word == "propertyNames":
            good = all(conforms(key, limit, root) for key in value)
        elif word == "required":
            good = set(limit) <= set(value)
        elif word == "additionalProperties":
            others = [v for k, v in value.items() if k not in rule.get("properties", {})]
            good = not others if limit is False else all(conforms(v, limit, root) for v in others)
        else:
            assert word in ("description", "default", "title", "$schema", "$defs"), word
            good = True
        if not good:
            return False
    return True


def test_the_schema_is_json_and_describes_every_key() -> None:
    document = json.loads(json.dumps(schema()))
    for record in (Cluster, Launcher, JobProfile, Rule, Screen, Notify, NodeSpec, SecretRef):
        table = document["$defs"][record.__name__]
        assert set(table["properties"]) == set(fields(record))
        assert table["additionalProperties"] is False
        for name, definition in table["properties"].items():
            assert len(definition["description"]) > 5, name
            assert {"type": "null"} not in definition.get("anyOf", ())


def test_two_schemas_are_two_documents() -> None:
    schema()["$defs"].clear()
    assert schema()["$defs"]


def test_the_example_conforms_to_the_schema() -> None:
    document = schema()
    assert conforms(tomllib.loads(EXAMPLE.read_text()), document, document)


LAB = '[clusters.lab]\nnodes = ["a"]\n'


@pytest.mark.parametrize(
    "text",
    [
        LAB + "port = 22",
        LAB + "port = 0",
        LAB + "port = 65536",
        LAB + 'port = "22"',
        LAB + 'user = ""',
        LAB + 'user = "a\\nb"',
        LAB + 'usr = "x"',
        LAB + 'identity_file = "x"',
        LAB + 'identity_file = ["x"]',
        LAB + "identity_file = [1]",
        LAB + "ssh_config = []",
        LAB + 'env = { A = "1" }',
        LAB + "env = { A = 1 }",
        LAB + "connect_timeout = 1",
        LAB + "connect_timeout = 0",
        LAB + 'secrets = { A = { env = "A" } }',
        LAB + "secrets = { A = {} }",
        LAB + 'secrets = { A = { env = "A", file = "x" } }',
        LAB + 'secrets = { A = "x" }',
        LAB + 'executor = "k8s"',
        '[clusters.x]\nnodes = [{ host = "a", gpus = 1 }]',
        "[clusters.x]\nnodes = [{ gpus = 1 }]",
        "[clusters.x]\nnodes = [1]",
        '[launchers.x]\nkind = "ft"',
        "[launchers.x]\nmax_restarts = -1",
        "[launchers.x]\nmonitor_interval = 0.0",
        "[launchers.x]\nrdzv_conf = { read_timeout = 1 }",
        "[launchers.x]\nrdzv_conf = { is_host = 1 }",
        '[launchers.x]\non_stall = "restart"',
        '[launchers.x]\non_stall = "kill"',
        "[launchers.x]\nrank_heartbeat_timeout = 0",
        '[launchers.x]\nkind = "ft"\nrank_section_timeouts = { a = 1 }',
        '[launchers.x]\nkind = "ft"\nrank_section_timeouts = { a = 0 }',
        '[launchers.x]\nkind = "ft"\nrank_termination_signal = "kill"',
        '[rules.r]\npattern = "x"\ncause = "y"',
        '[rules.r]\npattern = "x"\ncause = ""',
        '[jobs.j]\nscript = "x"\nmetrics = { loss = "(x)" }',
        '[jobs.j]\nscript = "x"\nmetrics = { loss = "" }',
        '[jobs.j]\nscript = "x"\nnodes = 1',
        '[jobs.j]\nscript = "x"\nnodes = "1:1"',
        '[jobs.j]\nscript = "x"\nnodes = 0',
        '[jobs.j]\nscript = "x"\nnodes = "a"',
        '[jobs.j]\nscript = "x"\nnproc_per_node = "gpu"',
        '[jobs.j]\nscript = "x"\nnproc_per_node = "x"',
        "[jobs.j]\ncommand = []",
        '[jobs.j]\ncommand = ["x"]',
        "[other]",
        '[screen]\ntheme = "dark"',
        '[screen]\ntheme = ""',
        "[screen]\nclusters = []",
        '[screen]\ntheem = "dark"',
        "[notify]\non = []",
        '[notify]\non = ["node"]',
        '[notify]\non = ["nodes"]',
        '[notify]\ncommand = ["say", "{text}"]',
        "[notify]\ncommand = []",
        "[keys]",
        '[keys]\n"a.b" = "ctrl+x"',
        '[keys]\n"a.b" = ","',
        '[keys]\n"a.b" = "f1,f2"',
        '[keys]\n"a.b" = "ctrl+,"',
        '[keys]\n"a.b" = "f1 f2"',
        '[keys]\n"a.b" = ""',
        '[keys]\n"a.b" = []',
        '[keys]\n"a.b" = ["f1", "f2"]',
        '[keys]\n"a.b" = [""]',
        '[keys]\n"a.b" = 1',
        '[keys]\na.b = "f1"',
    ],
)
def test_schema_and_check_agree_on_types_and_limits(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cockpit.toml"
    file.write_text(text)
    document = schema()
    assert conforms(tomllib.loads(text), document, document) == (check([file])[0] is not None)


def test_the_example_loads_without_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "cockpit.toml"
    file.write_text(EXAMPLE.read_text())
    config, problems = check([file])
    assert problems == []
    assert config is not None
    assert len(config.clusters["lab"].nodes) == 6
    assert set(config.jobs) == {"llama", "elastic", "clean-scratch"}


@pytest.mark.parametrize("record", list(RECORDS))
def test_the_example_shows_every_key(record: type) -> None:
    text = EXAMPLE.read_text()
    tables = {**SECTIONS, **SINGLES}
    section = next((name for name, known in tables.items() if known is record), None)
    if section is not None:  # Its own part of the file, from one headline to the next.
        parts = re.split(r"^# ── (\w+)", text, flags=re.MULTILINE)
        text = parts[parts.index(section.capitalize()) + 1]
    for key in fields(record):
        written = rf"(?:^|[\s{{#,]){key} = |\[{section}\.[\w-]+\.{key}\]"
        assert re.search(written, text, re.MULTILINE), f"{record.__name__}.{key}"


def rows(record: type) -> dict[str, list[str]]:
    """The table of a record on the reference page: cells by key."""
    part = PAGE.read_text().split(f"\n{RECORDS[record]}", 1)[1]
    part = re.split(r"^##", part, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^\| `(\w+)` \|(.*)\|$", part, re.MULTILINE)
    return {key: [cell.strip() for cell in cells.split("|")] for key, cells in found}


@pytest.mark.parametrize("record", list(RECORDS))
def test_the_reference_page_has_every_key_and_no_other(record: type) -> None:
    assert set(rows(record)) == set(fields(record))


@pytest.mark.parametrize("record", [record for record in RECORDS if record is not SecretRef])
def test_the_reference_page_gives_the_defaults_of_the_types(record: type) -> None:
    for key, (_, default, _) in rows(record).items():
        field = fields(record)[key]
        if (record, key) in REQUIRED:
            continue
        value = field.default
        if value is msgspec.NODEFAULT:
            value = field.default_factory()
        written = "unset" if value is None else f"`{msgspec.json.encode(value).decode()}`"
        assert default == written, f"{record.__name__}.{key}"


@pytest.mark.parametrize("record", [Cluster, Launcher, JobProfile, Notify])
def test_the_reference_page_names_every_choice(record: type) -> None:
    page = rows(record)
    for name, definition in schema()["$defs"][record.__name__]["properties"].items():
        for choice in definition.get("enum", definition.get("items", {}).get("enum", ())):
            assert f'`"{choice}"`' in page[name][0]


def test_the_reference_page_names_every_entry_of_rdzv_conf_and_every_free_list() -> None:
    assert set(re.findall(r"`(\w+)`", rows(Launcher)["rdzv_conf"][2])) == set(RDZV_CONF)
    page = rows(Cluster)
    assert {key for key, cells in page.items() if cells[0] == "string or list"} == ONE_OR_MANY


def test_the_toml_on_the_reference_page_is_valid(tmp_path: Path) -> None:
    first = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    file = tmp_path / "cockpit.toml"
    file.write_text(first)
    assert load(file).jobs["llama"].nodes == 4


def test_every_field_of_the_types_has_a_docstring() -> None:
    for record in (Cluster, Launcher, JobProfile, Rule, Screen, Notify, NodeSpec):
        assert set(descriptions(record)) == set(record.__struct_fields__)


def test_the_public_names_are_the_sorted_list() -> None:
    assert profiles.__all__ == sorted(profiles._MODULES)


@pytest.mark.parametrize("name", profiles.__all__)
def test_every_public_name_can_be_had_and_is_no_module(name: str) -> None:
    found = getattr(profiles, name)
    assert not isinstance(found, python_types.ModuleType)
    assert found.__module__ == profiles._MODULES[name]


def test_loading_profiles_does_not_import_the_editor() -> None:
    program = (
        "import sys; from cockpit import profiles; profiles.load(); "
        "heavy = {'tomlkit', 'asyncssh', 'textual', 'click', 'asyncio'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
