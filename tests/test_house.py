"""The rules of the house: what may import what, what a node's Python can read, how files look."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cockpit.errors import ExitCode

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("cockpit", "tests", "examples", "benchmarks", "scripts")
    for path in (ROOT / folder).rglob("*.py")
)
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_bytes())
    for path in SOURCES
    if ROOT / "tests" not in path.parents
}
_DEFINITIONS = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def run(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_every_room_imports_downwards_only() -> None:
    done = run("-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache")
    assert done.returncode == 0, done.stdout


def test_what_runs_on_a_node_is_python_3_9() -> None:
    code = ["cockpit/node", "cockpit/protocol", "cockpit/__init__.py"]
    done = run(
        "-c", "from vermin import main; main()", "-t=3.9-", "--no-tips", "--violations", *code
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "cockpit.protocol.messages",
        "cockpit.profiles",
        "cockpit.launchers",
        "cockpit.model",
        "cockpit.packaging",
        "cockpit.errors",
        "cockpit.text",
    ],
)
def test_rooms_below_the_faces_load_neither_the_screen_nor_ssh(module: str) -> None:
    # The import graph does not see what is imported late; a fresh process does.
    program = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"textual", "asyncssh", "rich", "torch"}


def test_what_user_code_imports_on_a_node_imports_nothing_itself() -> None:
    program = (
        "import sys; before = set(sys.modules); import cockpit; print(set(sys.modules) - before)"
    )
    assert run("-S", "-c", program).stdout.strip() == "{'cockpit'}"


def test_every_module_says_what_it_is_for() -> None:
    # An empty `__init__.py` only makes a package.
    silent = [name for name, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def bound_names(statement: ast.stmt) -> set[str]:
    """What a statement of a module's top level gives a name to, classes and functions apart."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {target.id for target in targets if isinstance(target, ast.Name)}
    return set()


def test_what_a_module_exports_is_what_it_defines_in_public() -> None:
    for name, tree in TREES.items():
        defined = {node.name for node in tree.body if isinstance(node, _DEFINITIONS)}
        bound = set().union(*map(bound_names, tree.body))
        if "__all__" not in bound:
            continue
        (exported,) = (
            set(ast.literal_eval(node.value))
            for node in tree.body
            if isinstance(node, ast.Assign) and bound_names(node) == {"__all__"}
        )
        assert {word for word in defined if not word.startswith("_")} <= exported, name
        # A module-level `__getattr__` makes names when they are asked for.
        assert "__getattr__" in defined or exported <= defined | bound, name


def test_no_file_tells_of_unfinished_work_or_of_one_checkout() -> None:
    # Spelled in pieces, so that this file does not break its own rule.
    marks = r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"
    place = re.escape(str(ROOT)) + r"\b" if len(ROOT.parts) > 2 else r"(?!)"
    pattern = re.compile(f"{marks}|{place}")
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in SOURCES
        if (match := pattern.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def offences(tree: ast.Module) -> set[str]:
    """What the house forbids, in code (strings may hold programs of their own)."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type and ast.unparse(node.type)
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            if caught is None or (silent and caught in ("Exception", "BaseException")):
                found.add("swallows every error")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("os.system", "os.popen", "eval"):
                found.add(f"calls {called}")
            elif any(key.arg == "shell" for key in node.keywords):
                found.add("lets a shell read a string")
    return found


def test_no_error_is_swallowed_and_no_string_meets_a_shell() -> None:
    found = {name: found for name, tree in TREES.items() if (found := offences(tree))}
    assert found == {}


def test_only_the_command_line_and_node_programs_end_the_process() -> None:
    programs = ("cockpit/cli/", "cockpit/node/", "cockpit/__main__.py")
    found = [
        name
        for name, tree in TREES.items()
        if name.startswith("cockpit/") and not name.startswith(programs)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call | ast.Name | ast.Attribute)
        and ast.unparse(node) in ("sys.exit", "os._exit", "SystemExit")
    ]
    assert found == []


def test_the_page_on_exit_codes_knows_every_code() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.MULTILINE)
    own = {(str(code.value), code.name) for code in ExitCode if code is not ExitCode.OK}
    assert set(rows) == own


def test_test_files_have_names_of_their_own() -> None:
    # Without packages among the tests, two files of one name shadow each other.
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def runs(pid: int) -> bool:
    """A process that is dead and merely not reaped does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


def inner_session(tmp_path: Path, test: str) -> subprocess.CompletedProcess[str]:
    """A session of its own with our conftest and one test file."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_inner.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    flags = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "--rootdir", str(tmp_path)]
    return run("-m", "pytest", *flags, str(tmp_path), PYTHONPATH=str(ROOT))


BLOCKS = """
import asyncio, pathlib
from cockpit import packaging

async def blocked():
    try:
        packaging.pack(pathlib.Path("/nonexistent"))
        packaging.pack(pathlib.Path(__file__).parent)
    except Exception as error:
        print(type(error))

def test_blocks():
    asyncio.run(blocked())
"""

OFF_THE_LOOP = """
import asyncio, pathlib
from cockpit import packaging

def test_does_not_block():
    asyncio.run(asyncio.to_thread(packaging.pack, pathlib.Path(__file__).parent))
"""


def test_a_test_in_which_cockpit_blocked_the_loop_fails_even_if_the_error_was_swallowed(
    tmp_path: Path,
) -> None:
    done = inner_session(tmp_path, BLOCKS)
    assert done.returncode == 1
    assert "the event loop was blocked" in done.stdout


def test_blocking_work_in_a_thread_is_no_offence(tmp_path: Path) -> None:
    done = inner_session(tmp_path, OFF_THE_LOOP)
    assert done.returncode == 0, done.stdout


LEAVES_A_PROCESS = """
import os, subprocess
import conftest

def test_leaves_a_process():
    conftest._SETTLE = 0.1
    process = subprocess.Popen(["sleep", "77"], env={**os.environ, "COCKPIT_ATTEMPT": "x/0/0"})
    open("PID", "w").write(str(process.pid))
"""


def test_a_process_of_an_attempt_that_outlives_the_session_is_killed_and_fails_it(
    tmp_path: Path,
) -> None:
    pid = tmp_path / "pid"
    done = inner_session(tmp_path, LEAVES_A_PROCESS.replace("PID", str(pid)))
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "x/0/0: sleep 77" in done.stdout
    assert not runs(int(pid.read_text()))


def test_a_test_sees_nothing_of_the_developers_configuration(home: Path) -> None:
    assert Path.home() == home
    assert list(home.iterdir()) == []
    assert not [name for name in os.environ if name.startswith("XDG_")]
    assert [name for name in os.environ if name.startswith("COCKPIT_")] == ["COCKPIT_TEST_SESSION"]
