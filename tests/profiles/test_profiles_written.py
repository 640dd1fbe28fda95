"""What each file says by itself, several changes at once, and the check of single values."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cockpit.errors import ConfigError, UsageError
from cockpit.profiles import (
    Source,
    builtin,
    change,
    check,
    check_values,
    key_of,
    load,
    read_written,
    with_added,
    with_cluster,
)

TEXT = """\
# machines
[clusters.lab]
nodes = ["a"]   # one
user = "ada"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cockpit.toml"
    path.write_text(TEXT)
    return path


def test_several_keys_are_changed_at_once(file: Path) -> None:
    change(
        file,
        {
            ("clusters", "lab", "port"): 22,
            ("screen", "theme"): "dark",
            ("keys", "job.cancel"): ["ctrl+x"],
            ("launchers", "plain"): {},
        },
        removed=[("clusters", "lab", "user")],
        files=[file],
    )
    assert file.read_text() == (
        '# machines\n[clusters.lab]\nnodes = ["a"]   # one\nport = 22\n\n[screen]\n'
        'theme = "dark"\n\n[keys]\n"job.cancel" = ["ctrl+x"]\n\n[launchers.plain]\n'
    )
    change(file, {("screen", "ascii"): True}, removed=[("keys", "job.cancel")], files=[file])
    assert '[screen]\ntheme = "dark"\nascii = true\n' in file.read_text()
    config, problems = check([file])
    assert config is not None
    assert problems == []
    assert config.keys == {}


@pytest.mark.parametrize(
    ("values", "removed"),
    [
        ({("clusters", "lab", "user"): "eve", ("clusters", "lab", "port"): 0}, []),
        ({("clusters", "lab", "user"): "eve"}, [("clusters", "lab", "nodes")]),
        ({("clusters", "lab", "user"): "eve"}, [("clusters", "lab", "port")]),
    ],
)
def test_one_bad_change_leaves_the_file_as_it_was(
    file: Path, values: dict[tuple[str, ...], object], removed: list[tuple[str, ...]]
) -> None:
    with pytest.raises((ConfigError, UsageError)):
        change(file, values, removed=removed, files=[file])
    assert file.read_text() == TEXT


def test_the_farther_file_is_checked_behind_the_nearer_one(file: Path, tmp_path: Path) -> None:
    far = tmp_path / "far.toml"
    change(far, {("jobs", "j"): {"cluster": "lab", "script": "x"}}, files=[file, far])
    assert far.read_text() == '[jobs.j]\ncluster = "lab"\nscript = "x"\n'
    config, _ = check([file, far])
    assert config is not None
    assert config.jobs["j"].cluster == "lab"


def test_what_stands_in_a_file_is_known_with_its_line(file: Path) -> None:
    (written,) = read_written([file])
    assert written.table("clusters", "lab") == {"nodes": ["a"], "user": "ada"}
    assert written.table("clusters", "none") == {}
    assert written.table("screen") == {}
    assert written.source("clusters", "lab", "user") == Source(file=str(file), line=4)
    assert written.source("clusters", "lab") == Source(file=str(file), line=2)
    assert written.source("clusters", "lab", "port") is None
    file.write_text("clusters = 3")
    assert read_written([file])[0].table("clusters", "lab") == {}
    file.write_text("not toml")
    assert read_written([file])[0].data == {}


def test_single_values_are_checked_by_their_key() -> None:
    assert check_values("clusters", "lab", {"port": 22, "user": "ada"}) == {}
    wrong = check_values("clusters", "lab", {"port": 0, "nodes": [{"host": "a", "gpus": "x"}]})
    assert sorted(wrong) == ["nodes", "port"]
    assert sorted(check_values("notify", "", {"on": ["never"]})) == ["on"]
    assert sorted(check_values("keys", "", {"job.cancel": "f1,f2"})) == ["job.cancel"]
    assert sorted(check_values("jobs", "-x", {})) == [""]


def test_a_problem_belongs_to_a_key_of_its_profile(file: Path) -> None:
    file.write_text('[clusters.lab]\nnodes = ["a", "a"]\n')
    _, problems = check([file])
    assert [key_of("clusters", problem) for problem in problems] == ["nodes"]


def test_clusters_that_no_file_names_outlive_a_reload(file: Path) -> None:
    added = msgspec.structs.replace(builtin().clusters["local"], name="extra")
    before = with_cluster(load(file), added)
    after = with_added(load(file), before)
    assert set(after.clusters) == {"lab", "local", "extra"}
    assert set(with_added(builtin(), before).clusters) == {"local", "extra"}
