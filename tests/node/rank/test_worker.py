"""The worker runs a script as `python` would; every check compares with the real `python`."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from cockpit.node.rank import worker
from cockpit.protocol import layout
from tests.node.torchrun_nodes import make_runtime

DUMP = '''"""The script's docstring."""
import json, sys
main = sys.modules["__main__"]
shown = {name: repr(getattr(main, name)) for name in sorted(vars(main)) if name.startswith("__")}
shown["is this module"] = vars(main) is globals()
shown["argv"], shown["path"], shown["hook"] = sys.argv, sys.path, repr(sys.excepthook)
print(json.dumps(shown, indent=1))
'''

Result = subprocess.CompletedProcess


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_runtime(tmp_path_factory.mktemp("runtime"))


class Bench:
    """A working directory in which scripts run plain and under the worker."""

    def __init__(self, folder: pathlib.Path, runtime: pathlib.Path) -> None:
        self.folder = folder
        self.runtime = runtime
        self.worker = runtime / "cockpit" / "node" / "rank" / "worker.py"
        self.error_file = folder / "error.json"

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def plain(self, *args: str, **environ: str) -> Result[str]:
        return self._run([sys.executable, *args], environ)

    def under_worker(self, *args: str, **environ: str) -> Result[str]:
        environ = {worker.ERROR_FILE_ENV: str(self.error_file), **environ}
        return self._run([sys.executable, "-u", str(self.worker), *args], environ)

    def same(self, *args: str, **environ: str) -> Result[str]:
        """Both ways, with equal output and exit code; the one under the worker."""
        plain, ours = self.plain(*args, **environ), self.under_worker(*args, **environ)
        assert ours.stderr == plain.stderr
        assert ours.stdout == plain.stdout
        assert ours.returncode == plain.returncode
        return ours

    def record(self) -> dict[str, object]:
        loaded: dict[str, object] = json.loads(self.error_file.read_text())
        return loaded

    def _run(self, argv: list[str], environ: dict[str, str]) -> Result[str]:
        return subprocess.run(
            argv,
            cwd=self.folder,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def bench(tmp_path: pathlib.Path, runtime: pathlib.Path) -> Bench:
    return Bench(tmp_path, runtime)


def test_it_uses_the_protocols_words() -> None:
    assert worker.LAUNCHER_PID_ENV == layout.LAUNCHER_PID_ENV


@pytest.mark.parametrize(
    "how",
    [
        ["sub/dump.py", "a b", "", "-x", "--", "-m"],
        ["./sub/../sub/dump.py"],
        ["link.py", "--help"],
        ["-m", "sub.dump", "-m", "x"],
        ["-m", "package", "x"],
        ["folder", "x"],
    ],
    ids=" ".join,
)
def test_main_argv_and_path_are_those_of_plain_python(bench: Bench, how: list[str]) -> None:
    bench.write("sub/dump.py", DUMP)
    bench.write("package/__init__.py", "")
    bench.write("package/__main__.py", DUMP)
    bench.write("folder/__main__.py", DUMP)
    (bench.folder / "link.py").symlink_to("sub/dump.py")
    plain, ours = bench.plain(*how), bench.under_worker(*how)
    assert (plain.returncode, ours.returncode) == (0, 0), ours.stderr
    expected, shown = _without_addresses(plain.stdout), _without_addresses(ours.stdout)
    assert shown["path"] == [*expected["path"], str(bench.runtime)]
    assert {**shown, "path": None} == {**expected, "path": None}
    assert not bench.error_file.exists()


def _without_addresses(text: str) -> dict[str, list[str]]:
    shown: dict[str, list[str]] = json.loads(text)
    return {
        name: value.partition(" at 0x")[0] if isinstance(value, str) else value
        for name, value in shown.items()
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="PYTHONSAFEPATH came with Python 3.11")
def test_a_safe_path_gets_no_folder_in_front(bench: Bench) -> None:
    bench.write("sub/dump.py", DUMP)
    plain = json.loads(bench.plain("sub/dump.py", PYTHONSAFEPATH="1").stdout)
    ours = json.loads(bench.under_worker("sub/dump.py", PYTHONSAFEPATH="1").stdout)
    assert ours["path"] == [*plain["path"], str(bench.runtime)]


def test_the_users_own_cockpit_wins_and_ours_is_there_otherwise(bench: Bench) -> None:
    script = bench.write("which.py", "import cockpit; print(cockpit.__file__)")
    # An environment that has cockpit installed keeps its own, too.
    installed = subprocess.run(
        [sys.executable, "-I", "-c", "import cockpit; print(cockpit.__file__)"],
        capture_output=True,
        text=True,
    ).stdout
    ours = installed.strip() or str(bench.runtime)
    assert bench.under_worker("which.py", PYTHONPATH="").stdout.startswith(ours)
    theirs = bench.write("cockpit/__init__.py", "")
    assert bench.under_worker(script.name, PYTHONPATH="").stdout == f"{theirs}\n"


@pytest.mark.parametrize(
    ("text", "code", "kind", "message"),
    [
        ("def f():\n    raise RuntimeError('boom\\nmore')\nf()", 1, "RuntimeError",
         "RuntimeError: boom"),
        ("import sys; sys.exit(7)", 7, "SystemExit", "exit code 7"),
        ("import sys; sys.exit(-1)", 255, "SystemExit", "exit code 255"),
        ("import sys; sys.exit('no data\\nat all')", 1, "SystemExit", "no data"),
        ("x = 1\nx = = 2", 1, "SyntaxError", "SyntaxError: invalid syntax"),
        ("import no_such_module", 1, "ModuleNotFoundError",
         "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise KeyboardInterrupt", -2, "KeyboardInterrupt", "KeyboardInterrupt"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", 1, "E",
         "E: <exception str() failed>"),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise OSError(5, 'io') from e", 1,
         "OSError", "OSError: [Errno 5] io"),
    ],
    ids=["raise", "exit 7", "exit -1", "exit text", "syntax", "import", "interrupt", "bad str",
         "chained"],
)  # fmt: skip
def test_a_failure_looks_as_ever_and_leaves_a_record(
    bench: Bench, text: str, code: int, kind: str, message: str
) -> None:
    bench.write("fails.py", text + "\n")
    before = time.time()
    assert bench.same("fails.py").returncode == code
    record = bench.record()
    ours, theirs = record["cockpit"], record["message"]
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict)
    assert (ours["type"], ours["message"]) == (kind, message)
    assert before <= ours["at"] <= time.time()
    assert ours["mono"] <= time.monotonic()
    # What torch reads of it.
    assert theirs["extraInfo"]["timestamp"] == str(int(ours["at"]))
    assert "worker.py" not in theirs["extraInfo"]["py_callstack"]
    assert [path.name for path in bench.folder.glob("error.json*")] == ["error.json"]


def test_a_failing_module_looks_as_ever(bench: Bench) -> None:
    bench.write("fails.py", "raise RuntimeError('boom')\n")
    assert bench.same("-m", "fails").returncode == 1
    assert bench.same("-m", "missing").returncode == 1
    assert "No module named missing" in str(bench.record())


def test_a_missing_script_is_said_as_python_says_it(bench: Bench) -> None:
    assert bench.same("missing.py").returncode == 2
    ours = bench.record()["cockpit"]
    assert isinstance(ours, dict)
    assert "No such file" in str(ours["message"])


@pytest.mark.parametrize("ending", ["sys.exit()", "sys.exit(0)", "sys.exit(256)", "os._exit(3)"])
def test_what_is_no_failure_of_python_leaves_no_record(bench: Bench, ending: str) -> None:
    bench.write("ends.py", f"import os, sys; {ending}\n")
    bench.same("ends.py")
    assert not bench.error_file.exists()


def test_the_record_of_torch_is_kept_with_ours_added(bench: Bench) -> None:
    theirs = {"message": {"message": "E: x", "extraInfo": {"timestamp": "5"}}, "more": 1}
    bench.error_file.write_text(json.dumps(theirs))
    bench.write("fails.py", "raise RuntimeError('boom')\n")
    bench.under_worker("fails.py")
    record = bench.record()
    assert record.pop("cockpit")
    assert record == theirs


def test_a_record_that_cannot_be_written_changes_nothing_else(bench: Bench) -> None:
    bench.write("fails.py", "raise RuntimeError('boom')\n")
    ours = bench.under_worker("fails.py", **{worker.ERROR_FILE_ENV: "/nonexistent/error.json"})
    assert ours.returncode == 1
    assert "cannot record the failure" in ours.stderr
    assert ours.stderr.endswith("RuntimeError: boom\n")


def test_the_scripts_own_excepthook_is_called_without_our_frames(bench: Bench) -> None:
    bench.write(
        "hooked.py",
        "import sys, traceback\n"
        "def hook(kind, value, tb):\n"
        "    print('mine', kind.__name__, [f.name for f in traceback.extract_tb(tb)])\n"
        "    print(sys.excepthook is hook)\n"
        "sys.excepthook = hook\n"
        "raise RuntimeError\n",
    )
    assert bench.same("hooked.py").stdout == "mine RuntimeError ['<module>']\nTrue\n"


def test_threads_and_exit_handlers_end_after_the_script(bench: Bench) -> None:
    bench.write(
        "late.py",
        "import atexit, pickle, threading, time\n"
        "class Thing: pass\n"
        "def late():\n"
        "    time.sleep(0.3)\n"
        "    print('thread', type(pickle.loads(pickle.dumps(Thing()))).__module__)\n"
        "atexit.register(lambda: print('atexit', pickle.dumps(Thing()) != b''))\n"
        "threading.Thread(target=late).start()\n"
        "print('end')\n"
        "raise RuntimeError('boom')\n",
    )
    assert bench.same("late.py").stdout == "end\nthread __main__\natexit True\n"


SPAWN = """
import multiprocessing, sys
print("imported as", __name__, flush=True)
class Double:
    def __init__(self, n): self.n = n
    def __call__(self, x): return (self.n * x, sys.argv[1:], __name__)
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(pool.map(Double(2), [1, 2], chunksize=2))
    if sys.argv[2:]:
        import os
        child = os.fork()
        if child == 0:
            raise RuntimeError("only the child")
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("how", [["spawner.py"], ["-m", "spawner"]], ids=["script", "module"])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_child_processes_import_the_script_and_never_the_worker(
    bench: Bench, method: str, how: list[str]
) -> None:
    bench.write("spawner.py", SPAWN)
    ours = bench.same(*how, method)
    assert "__mp_main__" in ours.stdout
    assert not bench.error_file.exists()


def test_the_failure_of_a_forked_child_is_not_the_ranks(bench: Bench) -> None:
    bench.write("spawner.py", SPAWN)
    ours = bench.under_worker("spawner.py", "fork", "and fork")
    assert ours.returncode == 0
    assert "RuntimeError: only the child" in ours.stderr
    assert not bench.error_file.exists()


def test_a_rank_whose_launcher_has_died_before_ends_by_itself(bench: Bench) -> None:
    bench.write("lives.py", "print('alive')\n")
    ours = bench.under_worker("lives.py", **{layout.LAUNCHER_PID_ENV: "999999999"})
    assert (ours.returncode, ours.stdout) == (-signal.SIGKILL, "")
    ours = bench.under_worker("lives.py", **{layout.LAUNCHER_PID_ENV: str(os.getpid())})
    assert (ours.returncode, ours.stdout) == (0, "alive\n")


@pytest.mark.parametrize("arguments", [[], ["-m"]])
def test_without_a_script_it_says_how_it_is_used(bench: Bench, arguments: list[str]) -> None:
    ours = bench.under_worker(*arguments)
    assert ours.returncode == 2
    assert ours.stderr.startswith("usage: worker.py")
