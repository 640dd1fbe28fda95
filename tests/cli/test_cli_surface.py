"""The command line as a surface: quick help, exit codes, errors for people."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def cockpit(
    *words: str, cwd: Path, code: str | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "cockpit"] if code is None else [sys.executable, "-c", code]
    return subprocess.run(
        [*argv, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPO), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_loads_neither_the_screen_nor_ssh_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from cockpit.cli import main\n"
        "sys.argv = ['cockpit', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'textual', 'asyncssh', 'torch', 'tomlkit', 'msgspec', 'asyncio'}\n"
        "    print('LOADED', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = cockpit(cwd=tmp_path, code=code)
    assert done.returncode == 0
    assert "LOADED []" in done.stderr
    for command in ("run", "ps", "status", "logs", "attach", "cancel", "restart", "trust", "demo"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    "command",
    ["run", "ps", "status", "logs", "attach", "cancel", "restart", "stacks", "nodes", "exec",
     "doctor", "clean", "trust", "record", "profiles", "demo"],
)  # fmt: skip
def test_every_command_has_its_help(tmp_path: Path, command: str) -> None:
    done = cockpit(command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"cockpit {command}" in done.stdout


def test_an_unknown_command_names_the_nearest(tmp_path: Path) -> None:
    done = cockpit("statsu", "x", cwd=tmp_path)
    assert done.returncode == 64
    assert "'status'" in done.stderr


def test_without_a_terminal_the_screen_says_so(tmp_path: Path) -> None:
    done = cockpit(cwd=tmp_path)
    assert done.returncode == 64
    assert "needs a terminal" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_nothing_to_run_is_a_usage_error(tmp_path: Path) -> None:
    done = cockpit("run", cwd=tmp_path)
    assert done.returncode == 64
    assert "nothing to run" in done.stderr


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = cockpit("run", "missing.py", cwd=tmp_path)
    assert done.returncode == 64
    assert "missing.py" in done.stderr


def test_every_problem_of_a_configuration_is_listed_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "cockpit.toml").write_text(
        '[clusters.lab]\nnodes = ["gpu[04-01]"]\nusr = "ada"\npassword = "x"\n'
        '[jobs.a]\ncluster = "labb"\nscript = "t.py"\n'
    )
    done = cockpit("profiles", "validate", cwd=tmp_path)
    assert done.returncode == 78
    for line, words in ((2, "gpu[04-01]"), (3, "user"), (4, "password"), (6, "lab")):
        assert any(
            f"cockpit.toml:{line}:" in text and words in text for text in done.stdout.splitlines()
        ), done.stdout
    document = json.loads(cockpit("profiles", "validate", "--json", cwd=tmp_path).stdout)
    assert {problem["line"] for problem in document["problems"]} >= {2, 3, 4, 6}
    run = cockpit("run", "t.py", cwd=tmp_path)
    assert run.returncode == 78
    assert "Traceback" not in run.stderr


def test_each_effective_value_knows_its_file(tmp_path: Path) -> None:
    (tmp_path / "cockpit.toml").write_text('[clusters.lab]\nnodes = ["a"]\nuser = "ada"\n')
    done = cockpit("profiles", "show", "lab", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = next(text for text in done.stdout.splitlines() if text.startswith("user"))
    assert line.endswith("cockpit.toml:3")


def test_rules_are_listed_and_shown_like_other_profiles(tmp_path: Path) -> None:
    (tmp_path / "cockpit.toml").write_text(
        "[rules.s3]\npattern = 'x'\ncause = 'the store failed'\n"
    )
    assert "rule      s3  the store failed" in cockpit("profiles", "list", cwd=tmp_path).stdout
    shown = json.loads(cockpit("profiles", "show", "--json", "rules.s3", cwd=tmp_path).stdout)
    assert shown["values"]["cause"] == "the store failed"
    assert shown["sources"]["rules.s3.pattern"]["line"] == 2


def test_a_job_that_nobody_knows_is_a_usage_error(tmp_path: Path) -> None:
    done = cockpit("status", "nosuchjob", cwd=tmp_path)
    assert done.returncode == 64
    assert "nosuchjob" in done.stderr


def test_a_reader_that_goes_away_is_no_error_of_ours(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from cockpit.cli import main\n"
        "read, write = os.pipe()\n"
        "os.dup2(write, 1); os.close(read); os.close(write)\n"
        "sys.argv = ['cockpit', 'profiles', 'schema']\n"
        "main()\n"
    )
    done = cockpit(cwd=tmp_path, code=code)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr


def test_validate_says_what_is_wrong_with_keys(tmp_path: Path) -> None:
    (tmp_path / "cockpit.toml").write_text(
        '[keys]\n"job.cancle" = "x"\n"app.redraw" = "spcae"\n"fleet.mode" = "n"\n'
    )
    done = cockpit("profiles", "validate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cockpit.toml:2" in done.stdout
    assert "did you mean job.cancel?" in done.stdout
    assert "'spcae' is no key, did you mean space?" in done.stdout
    assert "n is taken from launch.new" in done.stdout
