"""The configuration for ft_launcher: cockpit's file, and the user's over it."""

from __future__ import annotations

import json
import pathlib

import pytest

from cockpit.node.launch import ftconfig

pytest.importorskip("yaml")

OURS = {"rank_heartbeat_timeout": None, "log_level": "INFO", "enable_nic_monitor": False}


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "ft.yaml"
    file.write_text(json.dumps({"fault_tolerance": OURS}))
    return file


def test_cockpits_file_is_used_as_it_is_where_there_is_no_other(path: pathlib.Path) -> None:
    assert ftconfig.prepare(str(path)) == (str(path), OURS)


def test_the_users_section_is_found_at_any_depth_and_beats_the_defaults(path: pathlib.Path) -> None:
    path.with_name("ft.user.yaml").write_text(
        "exp:\n- a: 1\n- ft:\n    fault_tolerance: {safety_factor: 3, log_level: DEBUG}\n"
    )
    merged, section = ftconfig.prepare(str(path))
    assert section == {**OURS, "safety_factor": 3, "log_level": "DEBUG"}
    assert json.loads(pathlib.Path(merged).read_text()) == {"fault_tolerance": section}
    assert json.loads(path.read_text()) == {"fault_tolerance": OURS}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: 1\n", "no section fault_tolerance"),
        ("fault_tolerance: 7\n", "it is no table"),
        ("fault_tolerance:\n", "no section"),
        ("a: [\n", "no YAML"),
        ("", "no section"),
        ("!!python/object/apply:os.system [id]\n", "no YAML"),
    ],
)
def test_a_file_that_ft_launcher_would_ignore_in_silence_is_an_error(
    path: pathlib.Path, text: str, match: str
) -> None:
    path.with_name("ft.user.yaml").write_text(text)
    with pytest.raises(ValueError, match=match):
        ftconfig.prepare(str(path))


def test_yaml_reads_our_json_as_the_same_values(path: pathlib.Path) -> None:
    assert ftconfig.users_section(path.read_text()) == OURS
