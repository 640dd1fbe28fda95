"""Ranks without torch: slot, stacks at a signal, `cockpit.heartbeat`; every Python at hand."""

from __future__ import annotations

import math
import os
import pathlib
import pwd
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from cockpit.node.rank import instrument, slot, worker
from cockpit.protocol import layout
from tests.node.torchrun_nodes import make_runtime, until
from tests.node.worker_ranks import Rank, Ranks, ranks_in


def pythons() -> list[str]:
    """This one, and each of another version that pyenv has for the person who tests."""
    found = {sys.version_info[:2]: sys.executable}
    home = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)  # not $HOME, which is the test's own
    for path in sorted(home.glob(".pyenv/versions/3.*/bin/python")):
        major, _, minor = path.parts[-3].rpartition(".")[0].partition(".")
        if minor.isdecimal() and (int(major), int(minor)) >= (3, 9):
            found.setdefault((int(major), int(minor)), str(path))
    return list(found.values())


PYTHONS = pythons()
every_python = pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.split("/")[-3])


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def ranks(tmp_path: pathlib.Path, runtime: pathlib.Path) -> Iterator[Ranks]:
    with ranks_in(tmp_path, runtime) as ranks:
        yield ranks


def test_it_uses_the_protocols_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.SLOTS_ENV == instrument.SLOTS_ENV == layout.SLOTS_ENV
    assert worker.ENDED == slot.ENDED
    assert instrument.GENERATION_ENV == layout.GENERATION_ENV
    assert instrument.STACK_SIGNAL == layout.STACK_SIGNAL
    monkeypatch.setenv(layout.ATTEMPT_DIR_ENV, "/attempt")
    assert instrument.stack_file(3, 7) == f"/attempt/{layout.rank_stacks(3, 7)}"


BEATS = """
import cockpit, os, sys
assert "COCKPIT_SLOTS" not in os.environ
for step in range(5):
    cockpit.heartbeat(step=10 + step, loss=0.5 * step, bad=float("nan"), nothing=None)
cockpit.heartbeat(loss="not a number")
if sys.argv[1:]:
    sys.exit(int(sys.argv[1]))
"""


@every_python
def test_user_code_beats_with_steps_and_metrics(ranks: Ranks, python: str) -> None:
    ranks.write("beats.py", BEATS)
    rank = ranks.run("beats.py", python=python, local_rank=2, generation=4)
    assert rank.process.returncode == 0, rank.err()
    assert rank.slot_path.name == "4.2"
    beat = rank.beat()
    assert (beat.pid, beat.local_rank, beat.beats) == (rank.process.pid, 2, 6)
    assert (beat.step, beat.steps, beat.flags) == (14, 0, slot.USER | slot.ENDED)
    assert beat.metrics.pop("loss") == 2.0
    assert all(math.isnan(value) for value in beat.metrics.values())
    assert beat.metrics.keys() == {"bad", "nothing"}
    assert rank.err() == "cockpit.heartbeat leaves it out: 'loss' is no number: str\n"


@pytest.mark.parametrize(
    ("how", "code", "flags"),
    [(["beats.py", "0"], 0, slot.USER | slot.ENDED), (["-m", "beats"], 0, slot.USER | slot.ENDED),
     (["beats.py", "3"], 3, slot.USER), (["dies.py"], 1, 0)],
    ids=["exit 0", "module", "exit 3", "dies in import"],
)  # fmt: skip
def test_only_a_normal_end_is_an_end(ranks: Ranks, how: list[str], code: int, flags: int) -> None:
    ranks.write("beats.py", BEATS)
    ranks.write("dies.py", "import no_such_module\n")
    rank = ranks.run(*how)
    assert rank.process.returncode == code
    assert rank.beat().flags == flags


THREADED = """
import atexit, cockpit, sys, threading
go_on = threading.Event()
def train():
    print("ready", flush=True)
    input()
    cockpit.heartbeat(step=7)
    print("trained", flush=True)
def tidy_up():
    print("tidying up", flush=True)
    input()
atexit.register(tidy_up)
threading.Thread(target=train).start()
if sys.argv[1:]:
    sys.exit(int(sys.argv[1]))
"""


@every_python
@pytest.mark.parametrize(("how", "flags"), [([], slot.ENDED), (["0"], slot.ENDED), (["3"], 0)])
def test_a_rank_has_ended_once_its_threads_have_and_before_it_tidies_up(
    ranks: Ranks, python: str, how: list[str], flags: int
) -> None:
    ranks.write("threaded.py", THREADED)
    rank = ranks.start("threaded.py", *how, python=python)
    rank.until_says("ready")
    _until_joined(rank)
    assert rank.beat().flags == 0
    assert rank.process.stdin is not None
    rank.process.stdin.write(b"\n")
    rank.process.stdin.flush()
    rank.until_says("tidying up")
    assert (rank.beat().step, rank.beat().flags) == (7, slot.USER | flags)
    assert rank.answer() == int(*how or ["0"]), rank.err()


def _until_joined(rank: Rank) -> None:
    """Until the main thread waits, which it does for the other one only."""
    waits = pathlib.Path(f"/proc/{rank.process.pid}/task/{rank.process.pid}/wchan")
    until(lambda: waits.read_text().startswith("futex"), "the end of the script")


@every_python
def test_a_rank_that_has_closed_its_stderr_beats_on(ranks: Ranks, python: str) -> None:
    ranks.write(
        "quiet.py",
        "import cockpit, sys\nsys.stderr.close()\n"
        "cockpit.heartbeat(step=1, loss='high')\nprint('ran')\n",
    )
    rank = ranks.run("quiet.py", python=python)
    assert (rank.process.returncode, rank.out()) == (0, "ran\n")
    assert rank.beat().step == 1


SAME_SHAPE = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
sys.meta_path.insert({place}, Finder())
try:
    import torch
    print(torch.optim.optimizer.name, len(torch.hooks))
except BaseException as error:
    print(type(error))
"""
TORCH = {
    "torch/__init__.py": "hooks = []\nimport torch.optim.optimizer\n",
    "torch/optim/__init__.py": "",
    "torch/optim/optimizer.py": (
        "import torch\nname = __name__\n"
        "def register_optimizer_step_post_hook(hook): torch.hooks.append(hook)\n"
    ),
}


@every_python
@pytest.mark.parametrize("place", ["0", "len(sys.meta_path)"], ids=["before", "behind"])
def test_a_finder_of_the_user_that_asks_all_others_and_ours_do_not_ask_each_other_for_ever(
    ranks: Ranks, python: str, place: str
) -> None:
    for name, text in TORCH.items():
        ranks.write(name, text)
    ranks.write("finder.py", SAME_SHAPE.format(place=place))
    rank = ranks.run("finder.py", python=python)
    assert rank.out() == "torch.optim.optimizer 1\n", rank.err()
    assert rank.beat().flags & slot.HOOKED


@every_python
def test_without_the_variable_nothing_is_instrumented(ranks: Ranks, python: str) -> None:
    ranks.write(
        "bare.py",
        "import cockpit, sys\n"
        "plain = [f for f in sys.meta_path if 'cockpit' in type(f).__module__]\n"
        "cockpit.heartbeat(step=1, loss=2.0)\n"
        "print(plain, [n for n in sys.modules if n.startswith('_cockpit')])\n"
        "print('ready', flush=True)\n"
        "input()\n",
    )
    rank = ranks.start("bare.py", python=python, **{layout.SLOTS_ENV: None})
    rank.until_says("ready")
    assert rank.out() == "[] []\nready\n"
    assert not _caught(rank) & 1 << layout.STACK_SIGNAL - 1
    assert list(ranks.slots.iterdir()) == []
    assert not (ranks.folder / layout.STACKS).exists()
    assert (rank.answer(), rank.err()) == (0, "")


def _caught(rank: Rank) -> int:
    """The signals for which the process has a handler of its own; bit 0 is signal 1."""
    status = pathlib.Path(f"/proc/{rank.process.pid}/status").read_text()
    return int(status.split("SigCgt:")[1].split()[0], 16)


PROBLEMS = {
    "no folder": ({layout.SLOTS_ENV: "/nonexistent/folder"}, "no heartbeats: [Errno 2]"),
    "no generation": ({layout.GENERATION_ENV: None}, "COCKPIT_GENERATION is no number: ''"),
    "no local rank": ({"LOCAL_RANK": "x"}, "LOCAL_RANK is no number: 'x'"),
}


@pytest.mark.parametrize(("environ", "line"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_rank_that_cannot_beat_says_why_in_one_line_and_runs_on(
    ranks: Ranks, environ: dict[str, str | None], line: str
) -> None:
    ranks.write("beats.py", "import cockpit; cockpit.heartbeat(step=1); print('ran')\n")
    rank = ranks.run("beats.py", **environ)
    assert (rank.out(), rank.process.returncode) == ("ran\n", 0)
    assert line in rank.err()
    assert rank.err().count("\n") == 1


def test_a_slot_of_another_process_is_left_alone(ranks: Ranks) -> None:
    ranks.write("beats.py", "import cockpit; cockpit.heartbeat(step=1); print('ran')\n")
    first = ranks.run("beats.py")
    second = ranks.run("beats.py")
    assert second.process.returncode == 0
    assert "no heartbeats: [Errno 17]" in second.err()
    assert first.beat().pid == first.process.pid


def test_a_rank_whose_stacks_have_no_place_beats_and_notes_it(ranks: Ranks) -> None:
    ranks.write("beats.py", "import cockpit; cockpit.heartbeat(step=1)\n")
    (ranks.folder / layout.STACKS).write_text("in the way")
    rank = ranks.run("beats.py")
    assert rank.process.returncode == 0
    assert rank.beat().step == 1
    assert rank.beat().note.startswith("no stacks on demand")
    assert rank.err().startswith("cockpit: no stacks on demand")


STUCK = """
import re, sys, threading, time
def in_thread():
    time.sleep(600)
threading.Thread(target=in_thread, daemon=True).start()
def culprit():
    print("ready", flush=True)
    if sys.argv[1] == "input":
        input()
        print("went on")
    else:
        re.match("(a?){40}a{40}(b|a)*c", "a" * 80)  # never lets go of the GIL
culprit()
"""


@every_python
def test_the_signal_adds_all_stacks_to_the_ranks_file_and_the_rank_goes_on(
    ranks: Ranks, python: str
) -> None:
    ranks.write("stuck.py", STUCK)
    rank = ranks.start("stuck.py", "input", python=python, local_rank=1)
    rank.until_says("ready")
    path = ranks.folder / layout.rank_stacks(0, 1)
    for times in (1, 2):
        rank.process.send_signal(layout.STACK_SIGNAL)
        until(lambda: path.read_text().count("in culprit") == times, "the stacks", 30)  # noqa: B023
    assert "in in_thread" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (rank.answer(), rank.err()) == (0, "")
    assert rank.out() == "ready\nwent on\n"


def test_stacks_come_while_the_gil_is_held_for_ever(ranks: Ranks) -> None:
    ranks.write("stuck.py", STUCK)
    rank = ranks.start("stuck.py", "spin")
    rank.until_says("ready")
    _until_busy(rank)
    rank.process.send_signal(layout.STACK_SIGNAL)
    until(lambda: "in culprit" in rank.stacks(), "the stack", 30)
    assert rank.process.poll() is None


def _until_busy(rank: Rank) -> None:
    """Its main thread has used half a second of CPU, so that it is in the loop for certain."""
    path = pathlib.Path(f"/proc/{rank.process.pid}/task/{rank.process.pid}/stat")

    def used() -> int:
        return int(path.read_text().rpartition(")")[2].split()[11])

    before = used()
    until(lambda: used() - before > 50, "a busy rank", 60)


def test_a_look_while_the_interpreter_shuts_down_does_not_end_the_rank(ranks: Ranks) -> None:
    ranks.write(
        "late.py",
        f"""
import faulthandler, os
assert faulthandler.unregister({layout.STACK_SIGNAL})  # as the interpreter does at its end
os.kill(os.getpid(), {layout.STACK_SIGNAL})
print("alive")
""",
    )
    rank = ranks.start("late.py")
    assert (rank.wait(), rank.out()) == (0, "alive\n")


def test_handlers_of_the_users_own_stay_theirs(ranks: Ranks) -> None:
    ranks.write(
        "handles.py",
        "import signal, time\n"
        "saved = []\n"
        "signal.signal(signal.SIGUSR1, lambda *_: saved.append('usr1'))\n"
        "signal.signal(signal.SIGUSR2, lambda *_: saved.append('usr2'))\n"
        "print('ready', flush=True)\n"
        "while len(saved) < 2: time.sleep(0.01)\n"
        "print(sorted(saved))\n",
    )
    rank = ranks.start("handles.py")
    rank.until_says("ready")
    for number in (layout.STACK_SIGNAL, signal.SIGUSR1, signal.SIGUSR2):
        rank.process.send_signal(number)
    assert rank.wait() == 0
    assert "['usr1', 'usr2']" in rank.out()
    assert "handles.py" in rank.stacks()


def test_a_script_that_closes_all_descriptors_never_gets_stacks_in_its_files(
    ranks: Ranks,
) -> None:
    ranks.write(
        "closes.py",
        "import os\n"
        "os.closerange(3, 4096)\n"
        "precious = [open(f'checkpoint{n}', 'w') for n in range(20)]\n"
        "print('ready', flush=True)\n"
        "input()\n",
    )
    rank = ranks.start("closes.py")
    rank.until_says("ready")
    rank.process.send_signal(layout.STACK_SIGNAL)
    assert rank.answer() == 0
    assert {path.stat().st_size for path in ranks.folder.glob("checkpoint*")} == {0}
    assert rank.stacks() == ""


def test_the_last_value_outlives_a_killed_rank(ranks: Ranks) -> None:
    ranks.write(
        "killed.py",
        "import cockpit, os, signal\n"
        "cockpit.heartbeat(step=41, loss=0.25)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    before = time.monotonic_ns()
    rank = ranks.run("killed.py")
    assert rank.process.returncode == -signal.SIGKILL
    beat = rank.beat()
    assert (beat.step, beat.metrics, beat.pid) == (41, {"loss": 0.25}, rank.process.pid)
    assert before < beat.mono_ns < time.monotonic_ns()
    assert beat.flags == slot.USER


CHILDREN = """
import cockpit, multiprocessing, os, subprocess, sys
def work(number):
    import cockpit
    cockpit.heartbeat(step=1000 + number, child=1.0)
    return os.getpid() != os.getppid()
if __name__ == "__main__":
    cockpit.heartbeat(step=1)
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert all(pool.map(work, range(4)))
    subprocess.run([sys.executable, __file__ + ".child.py"], check=True)
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    cockpit.heartbeat(step=2)
    os.kill(os.getpid(), 9)
"""


@every_python
def test_child_processes_of_every_kind_never_beat(ranks: Ranks, python: str) -> None:
    ranks.write("children.py", CHILDREN)
    ranks.write("children.py.child.py", "import os\nassert 'COCKPIT_SLOTS' not in os.environ\n")
    # The runtime is where the spawned child finds this cockpit.
    rank = ranks.run("children.py", python=python, PYTHONPATH=str(ranks.runtime))
    assert rank.process.returncode == -signal.SIGKILL, rank.err()
    assert [path.name for path in ranks.slots.iterdir()] == ["0.0"]
    beat = rank.beat()
    assert (beat.step, beat.beats, beat.metrics, beat.pid) == (2, 2, {}, rank.process.pid)
    assert beat.flags == slot.USER, "the end of a child is not the rank's"


def test_an_installed_cockpit_beats_as_well(ranks: Ranks) -> None:
    """The training environment has the package installed: another file, the same slot."""
    ours = ranks.runtime / "cockpit" / "__init__.py"
    ranks.write("site/cockpit/__init__.py", ours.read_text())
    ranks.write(
        "beats.py",
        "import cockpit\nfrom cockpit import heartbeat\n"
        "print(cockpit.__file__)\nheartbeat(step=5)\nassert cockpit.heartbeat == heartbeat\n",
    )
    rank = ranks.run("beats.py", PYTHONPATH=str(ranks.folder / "site"))
    assert rank.out().strip() == str(ranks.folder / "site/cockpit/__init__.py")
    assert rank.beat().step == 5


def test_a_module_of_the_users_that_is_called_cockpit_stays_theirs(ranks: Ranks) -> None:
    ranks.write("cockpit.py", "mine = True\n")
    ranks.write("beats.py", "import cockpit; assert cockpit.mine\n")
    rank = ranks.run("beats.py")
    assert (rank.process.returncode, rank.beat().beats) == (0, 0)


def test_outside_of_a_rank_a_heartbeat_is_nothing() -> None:
    import cockpit

    assert cockpit.heartbeat(1, loss=2.0) is None  # type: ignore[func-returns-value]
    assert cockpit.heartbeat(step=object(), loss="x") is None  # type: ignore
