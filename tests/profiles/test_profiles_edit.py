from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.errors import ConfigError, UsageError
from cockpit.profiles import check, delete, edit, set_value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = """\
# My cockpit.

[clusters.lab]  # the lab
user = "ada"   # me
nodes = [  # all of them
  "gpu01",  # old
  "gpu02",  # new

  # the big one
  { host = "gpu03", gpus = 8 },
]

[launchers.ddp]
kind = "torchrun"

[clusters.lab.env]  # out of order
A = "1"  # a

# A job.
[jobs.j]
script = 'train.py'
env = { A = "1", B = "2" }  # inline
# the end
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cockpit.toml"
    path.write_text(TEXT)
    return path


def changed(file: Path) -> list[str]:
    """Lines that are not in the text from before, and with a minus those that are gone."""
    before, after = TEXT.splitlines(), file.read_text().splitlines()
    return [line for line in after if line not in before] + [
        f"-{line}" for line in before if line not in after
    ]


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        ("clusters.lab.user", "eve", ['user = "eve"   # me', '-user = "ada"   # me']),
        ("clusters.lab.port", 2222, ["port = 2222"]),
        ("clusters.lab.sync", False, ["sync = false"]),
        ("clusters.lab.env.B", "2", ['B = "2"']),
        ("clusters.lab.env.A", "x", ['A = "x"  # a', '-A = "1"  # a']),
        ("launchers.ddp.grace", 1.5, ["grace = 1.5"]),
        ("launchers.ddp.env.N", "1", ['env = {N = "1"}']),
        ("launchers.ddp.rdzv_conf", {"read_timeout": 5}, ["rdzv_conf = {read_timeout = 5}"]),
        ("jobs.j.args", ("x",), ['args = ["x"]']),
        ("jobs.j.args", ["-x", 'a "b"'], ['args = ["-x", "a \\"b\\""]']),
        ("launchers.new", {"max_restarts": 1}, ["[launchers.new]", "max_restarts = 1"]),
        ("launchers.new.max_restarts", 1, ["[launchers.new]", "max_restarts = 1"]),
        ('clusters."gpu.lab".nodes', ["x"], ['[clusters."gpu.lab"]', 'nodes = ["x"]']),
    ],
)
def test_a_change_touches_nothing_else(file: Path, key: str, value: Any, lines: list[str]) -> None:
    set_value(file, key, value)
    assert changed(file) == lines


def test_a_new_key_stands_with_its_table_and_a_new_table_at_the_end(file: Path) -> None:
    set_value(file, "launchers.ddp.grace", 1.5)
    set_value(file, "clusters.lab.env", {"X": "1"})
    set_value(file, "jobs.k", {"command": ["x"], "env": {"A": "1"}})
    text = file.read_text()
    assert '[launchers.ddp]\nkind = "torchrun"\ngrace = 1.5\n\n[clusters' in text
    assert '[clusters.lab.env]  # out of order\nX = "1"\n\n# A job.\n[jobs.j]' in text
    assert text.endswith('# the end\n\n[jobs.k]\ncommand = ["x"]\nenv = {A = "1"}\n')


def test_items_of_a_list_that_stay_keep_their_comments(file: Path) -> None:
    nodes = ["gpu01", "gpu02", {"host": "gpu03", "gpus": 8}, "gpu04"]
    set_value(file, "clusters.lab.nodes", nodes)
    text = file.read_text()
    for comment in ("# all of them", "# old", "# new", "# the big one"):
        assert comment in text
    assert tomllib.loads(text)["clusters"]["lab"]["nodes"] == nodes
    set_value(file, "clusters.lab.nodes", nodes[1:3])
    assert tomllib.loads(file.read_text())["clusters"]["lab"]["nodes"] == nodes[1:3]
    assert "# the big one" in file.read_text()


def test_keys_and_whole_profiles_can_be_deleted(file: Path) -> None:
    delete(file, "clusters.lab.user")
    assert changed(file) == ['-user = "ada"   # me']
    delete(file, "clusters.lab.env.A")
    delete(file, "jobs.j.env.A")
    delete(file, "launchers.ddp")
    data = tomllib.loads(file.read_text())
    assert data["jobs"]["j"]["env"] == {"B": "2"}
    assert "ddp" not in data.get("launchers", {})
    delete(file, "clusters.lab")
    rest = """\
# My cockpit.

# A job.
[jobs.j]
script = 'train.py'
env = { B = "2" }  # inline
# the end
"""
    assert file.read_text().replace("{  B", "{ B") == rest


def test_what_is_not_there_cannot_be_deleted(file: Path) -> None:
    for key in ("clusters.lab.port", "clusters.x.user", "clusters.lab.user.x", "x"):
        with pytest.raises(UsageError, match="is not set"):
            delete(file, key)
    assert file.read_text() == TEXT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clusters.lab.port", "22"),
        ("clusters.lab.usr", "x"),
        ("clusters.lab.nodes", ["gpu[2-1]"]),
        ("clusters.lab.nodes", ["gpu1", "gpu1"]),
        ("clusters.lab.password", "geheim"),
        ("clusters.new.user", "ada"),
        ("jobs.j.cluster", "nowhere"),
        ("jobs.j.module", "pkg"),
    ],
)
def test_a_file_that_would_not_validate_is_not_written(file: Path, key: str, value: Any) -> None:
    before = file.stat()
    with pytest.raises(ConfigError) as caught:
        set_value(file, key, value)
    assert caught.value.problems[0].file == str(file)
    assert "geheim" not in str(caught.value)
    assert file.read_text() == TEXT
    assert file.stat().st_ino == before.st_ino
    assert os.listdir(file.parent) == ["cockpit.toml"]


def test_deleting_what_others_need_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError):
        delete(file, "jobs.j.script")
    assert file.read_text() == TEXT


@pytest.mark.parametrize("key", ["", "a..b", ".a", "a.", 'a."b', "a b", "clusters.lab.user.x"])
def test_a_key_that_is_none_is_refused(file: Path, key: str) -> None:
    with pytest.raises(UsageError):
        set_value(file, key, 1)
    assert file.read_text() == TEXT


def test_a_value_that_toml_does_not_have_is_refused(file: Path) -> None:
    for value in (None, [None], {"a": object()}, "\udcff"):
        with pytest.raises(UsageError, match="cannot be set"):
            set_value(file, "jobs.j.env", value)


def test_a_file_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "cockpit.toml"
    mask = os.umask(0o027)
    try:
        set_value(path, "launchers.ddp.max_restarts", 2)
    finally:
        os.umask(mask)
    assert tomllib.loads(path.read_text()) == {"launchers": {"ddp": {"max_restarts": 2}}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_symlink_stays_and_the_mode_is_kept(file: Path, tmp_path: Path) -> None:
    file.chmod(0o604)
    link = tmp_path / "folder" / "link.toml"
    link.parent.mkdir()
    link.symlink_to(file)
    set_value(link, "clusters.lab.user", "eve")
    assert link.is_symlink()
    assert 'user = "eve"' in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o604
    assert os.listdir(link.parent) == ["link.toml"]


def test_a_change_by_somebody_else_is_not_overwritten(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        file.write_text(TEXT + "# mine\n")
        real(descriptor)

    monkeypatch.setattr(edit.os, "fsync", meanwhile)
    with pytest.raises(UsageError, match="somebody else"):
        set_value(file, "clusters.lab.user", "eve")
    assert file.read_text() == TEXT + "# mine\n"
    assert os.listdir(file.parent) == ["cockpit.toml"]


def test_a_failure_to_write_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(edit.os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        set_value(file, "clusters.lab.user", "eve")
    assert file.read_text() == TEXT
    assert os.listdir(file.parent) == ["cockpit.toml"]


def test_a_file_that_is_no_toml_is_not_touched(file: Path) -> None:
    file.write_text("[clusters\n")
    with pytest.raises(ConfigError) as caught:
        set_value(file, "clusters.lab.user", "eve")
    assert caught.value.problems[0].line == 1
    assert file.read_text() == "[clusters\n"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        delete(file, "a")


def test_the_users_own_file_counts_when_a_change_is_checked(file: Path, home: Path) -> None:
    own = home / ".config" / "cockpit" / "cockpit.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[clusters.mine]\nnodes = ["x"]\n')
    set_value(file, "jobs.j.cluster", "mine")
    assert check([file, own])[0] is not None
    with pytest.raises(ConfigError):
        set_value(file, "jobs.j.cluster", "mine", others=[])


def test_windows_line_ends_and_byte_order_mark_are_kept(file: Path) -> None:
    before = b"\xef\xbb\xbf" + TEXT.encode().replace(b"\n", b"\r\n")
    file.write_bytes(before)
    set_value(file, "clusters.lab.port", 22)
    set_value(file, "launchers.x.grace", 1)
    after = file.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf# My")
    assert after.count(b"\n") == after.count(b"\r\n") > before.count(b"\n")


SETTINGS = st.sampled_from(
    [
        ("clusters.lab.user", "x.y"),
        ("clusters.lab.port", 1),
        ("clusters.lab.nodes", ["n1"]),
        ("clusters.lab.nodes", ["n2", {"host": "n3", "gpus": 1}, "n1"]),
        ("clusters.lab.nodes", [{"host": "n3"}, "gpu02", "gpu01"]),
        ("clusters.lab.env", {"X": "1"}),
        ("clusters.lab.env.A", "é\n\"'"),
        ("clusters.lab.secrets.T", {"env": "T"}),
        ("launchers.ddp.rdzv_conf.read_timeout", 3),
        ("launchers.other.grace", 0.5),
        ("jobs.j.env.C", "3"),
        ("jobs.j.args", []),
        ("jobs.j.args", ["a", "b"]),
        ("jobs.k", {"command": ["x"], "env": {"A": "1"}}),
        ("jobs.k.command", ["y", "z"]),
    ]
)


@given(st.lists(st.tuples(SETTINGS, st.booleans()), max_size=8))
def test_after_any_changes_the_file_says_what_was_set_and_keeps_its_comments(
    changes: list[tuple[tuple[str, Any], bool]],
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cockpit.toml")
        path.write_text(TEXT)
        for (key, value), remove in changes:
            before = tomllib.loads(path.read_text())
            try:
                if remove:
                    delete(path, key, others=[])
                else:
                    set_value(path, key, value, others=[])
            except (UsageError, ConfigError):
                assert tomllib.loads(path.read_text()) == before
                continue
            data = tomllib.loads(path.read_text())
            *parents, last = key.split(".")
            for part in parents:
                data = data[part]
            assert (last not in data) if remove else (data[last] == value)
        text = path.read_text()
        for comment in ("# My cockpit.", "# A job.\n[jobs.j]\n", "# the end", "# the lab"):
            assert comment in text
