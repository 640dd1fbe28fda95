"""The tables without a name: `[screen]`, `[notify]` and `[keys]`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cockpit.cli.app import cli
from cockpit.profiles import Notify, Screen, Source, builtin, check


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_file_the_screen_has_its_defaults_and_their_sources() -> None:
    config = builtin()
    assert (config.screen, config.notify, config.keys) == (Screen(), Notify(), {})
    assert config.sources["screen.theme"] == Source()
    assert config.sources["notify.bell"] == Source()


def test_the_nearest_file_wins_key_by_key(tmp_path: Path) -> None:
    near = write(
        tmp_path / "near" / "cockpit.toml",
        '[screen]\ntheme = "dim"\n[notify]\nbell = false\n[keys]\n"job.cancel" = "ctrl+x"\n',
    )
    far = write(
        tmp_path / "far" / "cockpit.toml",
        '[screen]\ntheme = "loud"\nascii = true\n[notify]\non = ["node"]\n'
        '[keys]\n"job.cancel" = "f2"\n"view.last" = ["minus", "f9"]\n"list.top" = ""\n',
    )
    config, problems = check([near, far])
    assert config is not None
    assert problems == []
    assert config.screen == Screen(theme="dim", ascii=True)
    assert config.notify == Notify(bell=False, on=("node",))
    assert config.keys == {
        "job.cancel": ("ctrl+x",),
        "view.last": ("minus", "f9"),
        "list.top": (),
    }
    assert config.sources["screen.theme"] == Source(file=str(near), line=2)
    assert config.sources["screen.ascii"] == Source(file=str(far), line=3)
    assert config.sources['keys."job.cancel"'] == Source(file=str(near), line=6)
    assert config.sources['keys."view.last"'] == Source(file=str(far), line=8)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[screen]\ntheem = "x"', 2, "did you mean theme?"),
        ("[screens]", 1, "did you mean screen?"),
        ('[screen]\nuser = "x"', 2, "user is a key of clusters"),
        ('[clusters.local]\ntheme = "x"', 2, "theme is a key of screen"),
        ("screen = 3", 1, "write [screen] above its keys"),
        ("keys = 3", 1, "write [keys] above its keys"),
        ('[screen]\nread_only = "yes"', 2, "true or false"),
        ('[screen]\nclusters = ["local", "locl"]', 2, "did you mean local?"),
        ('[notify]\non = ["ends"]', 2, '"end"'),
        ('[notify]\ncommand = [""]', 2, "it names no program"),
        ('[keys]\njob.cancel = "f1"', 2, 'in quotes: "job.cancel"'),
        ('[keys]\n"job.cancel" = "f1,f2"', 2, 'write ["ctrl+x", "f9"]'),
        ('[keys]\n"job.cancel" = true', 2, "a key or a list of keys, not true"),
        ('[keys]\n"job.cancel" = ["f1", 2]', 2, "the name of a key, not 2"),
        ('[keys]\n"" = "f1"', 2, "is no action"),
        ('[clusters.local]\nread_only = "no"', 2, "true or false"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    config, problems = check([write(tmp_path / "cockpit.toml", text)])
    assert config is None
    assert [problem.line for problem in problems] == [line]
    assert said in f"{problems[0].message} {problems[0].hint}"


def test_a_comma_is_a_key_and_a_list_may_be_empty(tmp_path: Path) -> None:
    file = write(tmp_path / "cockpit.toml", '[keys]\n"a.b" = ","\n"c.d" = []\n')
    config, _ = check([file])
    assert config is not None
    assert config.keys == {"a.b": (",",), "c.d": ()}


def test_clusters_of_the_screen_may_be_in_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    near = write(tmp_path / "cockpit.toml", '[screen]\nclusters = ["lab"]\n')
    _, problems = check([near, tmp_path / "gone.toml"])
    assert [problem.file for problem in problems] == [str(tmp_path / "gone.toml")]


def test_show_tells_the_keys_and_the_line_that_set_each(tmp_path: Path) -> None:
    file = write(tmp_path / "cockpit.toml", '[keys]\n"job.cancel" = "ctrl+x"\n')
    shown = CliRunner().invoke(cli, ["--config", str(file), "profiles", "show", "keys"])
    assert f'"job.cancel" = ["ctrl+x"]  # {file}:2' in shown.output
    shown = CliRunner().invoke(cli, ["--config", str(file), "profiles", "show", "notify"])
    assert "bell = true  # default" in shown.output
