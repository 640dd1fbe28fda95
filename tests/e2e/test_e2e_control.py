"""Jobs under control, over real sshds, without torch: start, loss of contact, cancel, restart."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.lab import Lab, until
from tests.harness.sshd import Sshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(150)]

PLAIN = ("run", "-c", "lab", "-l", "plain")


def _detached(lab: Lab, *words: str) -> str:
    done = lab.run(*PLAIN, "--detach", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_starts_anywhere_when_one_node_has_no_python(
    tmp_path: Path, make_sshd: Callable[..., Sshd]
) -> None:
    lab = Lab(tmp_path, [make_sshd("node0"), make_sshd("node1", "127.0.0.2")])
    text = lab.config.read_text().replace(
        f"port = {lab.nodes[1].port} }}", f'port = {lab.nodes[1].port}, python = "/no/python" }}'
    )
    lab.config.write_text(text)
    lab.script("print('it ran', flush=True)\n")
    done = lab.run(*PLAIN, "--nodes", "2", "train.py")
    assert done.returncode == 69
    assert "node1" in done.stderr
    assert "/no/python" in done.stderr
    assert "it ran" not in done.stdout
    for node in lab.nodes:
        assert not list(node.state_dir.glob("jobs/*/attempts/*/nodes/*/logs/*.out"))
        assert not [p for p in node.processes() if _marked(p)]


def _marked(pid: int) -> bool:
    try:
        return b"COCKPIT_ATTEMPT=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def test_every_line_arrives_once_and_in_order_across_a_cut_of_twenty_seconds(
    tmp_path: Path, make_sshd: Callable[..., Sshd]
) -> None:
    lab = Lab(tmp_path, [make_sshd("node0")])
    total = 26_000
    lab.script(
        f"""
import time
begin = time.monotonic()
for number in range({total}):
    print("line", number, flush=True)
    ahead = begin + number / 1000 - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
"""
    )
    process = lab.start(*PLAIN, "train.py")
    job = until(lambda: list(lab.nodes[0].state_dir.glob("jobs/*")))[0].name
    log = lab.nodes[0].state_dir / f"jobs/{job}/attempts/0/nodes/0/logs/launcher.out"
    until(lambda: log.exists() and log.stat().st_size > 10_000)
    lab.nodes[0].stop_listening()
    lab.nodes[0].kill_connections()
    time.sleep(20.0)
    lab.nodes[0].start()
    out, err = process.communicate(timeout=90.0)
    assert process.returncode == 0, err
    assert "the job goes on" in err
    numbers = [int(n) for n in re.findall(r"│ line (\d+)$", out, re.MULTILINE)]
    assert numbers == list(range(total))


def test_a_killed_controller_changes_nothing_and_another_machine_sees_everything(lab: Lab) -> None:
    lab.script(
        """
import sys, time
for number in range(300):
    print("line", number, flush=True)
    time.sleep(0.06)
sys.exit(3)
"""
    )
    process = lab.start(*PLAIN, "--nodes", "2", "--name", "orphan", "train.py")
    assert process.stdout is not None
    until(lambda: "line 20" in process.stdout.readline())
    process.kill()
    process.communicate()
    lab.forget()
    ps = json.loads(lab.run("ps", "--json").stdout)
    assert [job["state"] for job in ps["jobs"]] == ["running"]
    attached = lab.run("attach", "orphan")
    assert attached.returncode == 3, attached.stderr
    for node in ("node0", "node1"):
        pattern = rf"^{node} launcher +│ line (\d+)$"
        numbers = [int(n) for n in re.findall(pattern, attached.stdout, re.MULTILINE)]
        assert numbers == list(range(300))
    logs = lab.run("logs", "orphan")
    assert sorted(logs.stdout.splitlines()) == sorted(attached.stdout.splitlines())


def test_training_survives_its_supervisor_and_is_adopted(lab: Lab) -> None:
    lab.script(
        """
import os, pathlib, sys, time
while not pathlib.Path(os.environ["COCKPIT_ATTEMPT_DIR"], "finish").exists():
    time.sleep(0.05)
sys.exit(5)
"""
    )
    job = _detached(lab, "--nodes", "1", "train.py")
    folder = lab.nodes[0].state_dir / f"jobs/{job}/attempts/0/nodes/0"
    supervisor = json.loads((folder / "supervisor.json").read_text())
    os.kill(supervisor["pid"], signal.SIGKILL)
    until(lambda: not _alive(supervisor["pid"]))
    assert lab.processes(job)

    def adopted() -> bool:
        lab.run("ps")
        return '"adopted"' in (folder / "events.jsonl").read_text()

    until(adopted)
    assert lab.status(job)["state"] == "running"
    (folder / "finish").touch()
    done = lab.run("attach", job)
    # An adopter is not the parent: a plain command's exit code is then honestly unknown.
    assert lab.status(job)["state"] in ("failed", "succeeded")
    assert done.returncode in (1, 5)
    assert not lab.processes(job)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *a: print("got SIGTERM", flush=True))
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"],
    start_new_session=True,
)
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""


def test_a_cancel_sweeps_what_ignores_it_and_proves_that_nothing_is_left(lab: Lab) -> None:
    lab.script(STUBBORN)
    job = _detached(lab, "--nodes", "2", "--name", "stubborn", "train.py")
    for rank in (0, 1):
        log = lab.nodes[rank].state_dir / f"jobs/{job}/attempts/0/nodes/{rank}/logs/launcher.out"
        until(lambda log=log: log.exists() and b"ready" in log.read_bytes())
    assert len(lab.processes(job)) >= 4
    done = lab.run("cancel", "--grace", "1", "--json", "stubborn")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["proven"] is True
    assert {node["name"]: bool(node["swept"]) for node in document["nodes"]} == {
        "node0": True,
        "node1": True,
    }
    assert lab.processes(job) == []
    status = lab.status(job)
    assert (status["state"], status["exit_code"]) == ("cancelled", 130)
    assert "@" in status["cancelled_by"]
    logs = lab.run("logs", job).stdout
    assert logs.count("got SIGTERM") == 2


def test_a_cancel_that_cannot_reach_a_node_says_so_and_never_claims_a_proof(lab: Lab) -> None:
    lab.script("import time\ntime.sleep(600)\n")
    job = _detached(lab, "--nodes", "2", "train.py")
    lab.nodes[1].stop_listening()
    lab.nodes[1].kill_connections()
    done = lab.run("cancel", job)
    assert done.returncode == 75, done.stdout + done.stderr
    assert "node1 could not be asked" in done.stdout
    lab.nodes[1].start()
    done = lab.run("cancel", job)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.processes(job) == []


def test_a_job_that_was_seen_to_end_stays_ended_while_a_node_is_away(lab: Lab) -> None:
    lab.script("print('done', flush=True)\n")
    assert lab.run(*PLAIN, "--nodes", "2", "--name", "over", "train.py").returncode == 0
    lab.nodes[1].stop_listening()
    lab.nodes[1].kill_connections()
    assert json.loads(lab.run("ps", "--json").stdout)["jobs"] == []
    status = lab.status("over")
    assert (status["state"], status["flags"]) == ("succeeded", [])
    lab.forget()
    status = lab.status("over")
    assert (status["state"], status["flags"]) == ("running", ["unknown_nodes"])


def test_a_restart_is_a_new_attempt_from_the_same_code_and_plan(lab: Lab) -> None:
    script = lab.script("import sys\nprint('version one', *sys.argv[1:], flush=True)\n")
    first = lab.run(*PLAIN, "--nodes", "2", "--name", "again", "train.py", "a b", "--x")
    assert first.returncode == 0, first.stderr
    script.write_text("print('version two', flush=True)\n")
    again = lab.run("restart", "again")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("version one a b --x") == 2
    assert "version two" not in again.stdout
    status = lab.status("again")
    assert (status["attempt"], status["restarts"], status["state"]) == (1, 1, "succeeded")


def test_two_controllers_that_restart_at_once_make_one_attempt(lab: Lab) -> None:
    lab.script("import time\nprint('started', flush=True)\ntime.sleep(4)\n")
    job = _detached(lab, "--nodes", "2", "train.py")
    assert lab.run("attach", job).returncode == 0
    both = [lab.start("restart", "--detach", job), lab.start("restart", "--detach", job)]
    ends = [process.communicate(timeout=60.0) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0, ends
    lab.run("attach", job)
    started = 0
    for rank, node in enumerate(lab.nodes):
        folder = node.state_dir / f"jobs/{job}/attempts/1/nodes/{rank}"
        journal = (folder / "events.jsonl").read_text()
        assert journal.count('"started"') == 1
        started += (folder / "logs/launcher.out").read_text().count("started")
    assert started == 2
    assert not lab.nodes[0].state_dir.joinpath(f"jobs/{job}/attempts/2").exists() or codes == [0, 0]


def test_the_first_interrupt_of_run_cancels_and_waits_for_the_proof(lab: Lab) -> None:
    lab.script("import time\nprint('working', flush=True)\ntime.sleep(600)\n")
    process = lab.start(*PLAIN, "--nodes", "2", "--name", "stopme", "train.py")
    assert process.stdout is not None
    until(lambda: "working" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60.0)
    assert process.returncode == 130, err
    assert "cancelling the job" in err
    assert "nothing of it is left on 2 of 2 nodes" in err
    assert lab.status("stopme")["state"] == "cancelled"


def test_a_cancel_is_sent_again_to_a_node_that_comes_back(lab: Lab) -> None:
    lab.script("import time\nprint('working', flush=True)\ntime.sleep(600)\n")
    process = lab.start(*PLAIN, "--nodes", "2", "--name", "cutoff", "train.py")
    assert process.stdout is not None
    until(lambda: "working" in process.stdout.readline())
    lab.nodes[1].stop_listening()
    lab.nodes[1].kill_connections()
    process.send_signal(signal.SIGINT)
    time.sleep(4.0)
    assert process.poll() is None
    lab.nodes[1].start()
    _, err = process.communicate(timeout=60.0)
    assert process.returncode == 130, err
    assert "nothing of it is left on 2 of 2 nodes" in err
    assert lab.processes(json.loads(lab.run("ps", "-a", "--json").stdout)["jobs"][0]["id"]) == []


def test_an_interrupt_during_the_start_leaves_nothing_running(lab: Lab) -> None:
    lab.script("import time\ntime.sleep(600)\n")
    for delay in (0.3, 0.6, 0.9, 1.2):
        process = lab.start(*PLAIN, "--nodes", "2", "--name", f"early{delay}", "train.py")
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60.0)
        assert process.returncode in (130, -2), err

    def nothing_runs() -> bool:
        jobs = {p.name for node in lab.nodes for p in node.state_dir.glob("jobs/*")}
        return not any(lab.processes(job) for job in jobs)

    until(nothing_runs, 20.0)


def test_a_second_interrupt_leaves_at_once_and_the_nodes_finish_the_cancel(lab: Lab) -> None:
    lab.script(STUBBORN)
    process = lab.start(*PLAIN, "--nodes", "1", "--name", "leaving", "train.py")
    assert process.stdout is not None
    until(lambda: "ready" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    until(lambda: "got SIGTERM" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, err = process.communicate(timeout=30.0)
    assert process.returncode == 130
    assert "left; the nodes finish the cancel" in err
    assert time.monotonic() - begin < 15.0
    until(lambda: lab.status("leaving")["state"] == "cancelled", 60.0, 1.0)


HOSTILE = [
    "",
    "a b",
    "it's",
    'say "x"',
    "two\nlines",
    "$(id) `id` $HOME ${node_rank} $${python}",
    "--",
    "-rf",
    "--nodes=7",
    "\\n",
    "ünïcödé 🚀",
    "*",
    "~",
    "a;b|c&d>e",
]


def test_arguments_and_variables_arrive_byte_for_byte(lab: Lab) -> None:
    lab.script(
        """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "X": os.environ["X"], "Y": os.environ["Y_Z"]}), flush=True)
""",
        "a 'script' $(x).py",
    )
    value = "v\n'\"$(id) ${node_rank} \\ -e ünï"
    done = lab.run(
        *PLAIN, "--json", "--nodes", "2", "-e", f"X={value}", "-e", "Y_Z=--", "--name", "-x $(y)\t",
        "--", "a 'script' $(x).py", *HOSTILE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    seen = [json.loads(item["text"]) for item in lines if item["type"] == "log"]
    assert seen == [{"argv": HOSTILE, "X": value, "Y": "--"}] * 2


def test_a_secret_is_in_no_argument_no_file_and_no_screen(lab: Lab) -> None:
    secret = "s3cr3t-0123456789-value"
    lab.script(
        "import hashlib, os, time\n"
        "print(hashlib.sha256(os.environ['HF_TOKEN'].encode()).hexdigest(), flush=True)\n"
        "time.sleep(3)\n"
    )
    process = lab.start(*PLAIN, "--nodes", "2", "-e", "HF_TOKEN", "train.py", HF_TOKEN=secret)
    assert process.stdout is not None
    import hashlib

    first = process.stdout.readline()
    assert hashlib.sha256(secret.encode()).hexdigest() in first
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                assert secret.encode() not in Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
    out, err = process.communicate(timeout=60.0)
    assert process.returncode == 0, err
    assert secret not in out + err
    roots = [node.state_dir for node in lab.nodes] + [lab.controller]
    found = subprocess.run(
        ["grep", "-rlaF", secret, *map(str, roots)], capture_output=True, text=True
    )
    assert found.stdout == ""
    dry = lab.run(*PLAIN, "--dry-run", "-e", "HF_TOKEN", "train.py", HF_TOKEN=secret)
    assert "HF_TOKEN" in dry.stdout
    assert secret not in dry.stdout + dry.stderr


def test_hostile_bytes_in_logs_reach_no_terminal_and_break_nothing(lab: Lab) -> None:
    lab.script(
        r"""
import sys
out = sys.stdout.buffer
out.write(b"\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07 title\n")
out.write(b"nul \x00 and invalid \xff\xfe utf-8 \x9b31m\n")
out.write(b"progress 1\rprogress 2\rprogress 3\n")
out.write(b"x" * 10_000_000 + b"\n")
out.write("bidi \u202e zero\u200bwidth\n".encode())
out.write(b"[rank0]: [/data/x] last\n")
out.flush()
"""
    )
    done = lab.run(*PLAIN, "--nodes", "1", "train.py")
    assert done.returncode == 0, done.stderr
    raw = done.stdout + done.stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b]", raw)
    assert "progress 3" in raw
    assert "progress 1" not in raw
    assert "[rank0]: [/data/x] last" in raw
    assert "… (+" in raw
    assert len(raw) < 200_000


def test_the_plan_that_is_printed_is_the_plan_that_runs(lab: Lab) -> None:
    lab.script("import time\ntime.sleep(2)\n")
    words = ("-c", "lab", "-l", "plain", "--nodes", "2", "train.py", "a b")
    dry = lab.run("run", "--dry-run", "--json", *words)
    assert dry.returncode == 0, dry.stderr
    plan = json.loads(dry.stdout)["plan"]
    job = lab.run("run", "--detach", *words).stdout.strip()
    for rank, node in enumerate(lab.nodes):
        folder = node.state_dir / f"jobs/{job}/attempts/0/nodes/{rank}"
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        started = next(event for event in events if event["kind"] == "started")
        assert started["argv"] == plan["nodes"][rank]["argv"]
        record = json.loads((node.state_dir / f"jobs/{job}/job.json").read_text())
        assert record["code"]["digest"] == plan["code"]["digest"]
        assert set(record["env"]) == set(plan["nodes"][rank]["env"])
    lab.run("attach", job)


@pytest.mark.torch
def test_without_any_configuration_a_script_runs_on_this_machine(
    tmp_path: Path, home: Path
) -> None:
    (tmp_path / "hello.py").write_text("import sys\nprint('hello', sys.argv[1:], flush=True)\n")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COCKPIT_CONTROLLER")}
    environ |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "cockpit", "run", "--no-python", sys.executable, "hello.py", "x"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=90,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "hello ['x']" in done.stdout
