"""Jobs under control, over real sshds, without torch: start, restart, and what they are given."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.lab import PLAIN, REPO, TIMEOUT, Lab
from tests.harness.sshd import Sshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]


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
    job = lab.detached("--nodes", "2", "train.py")
    assert lab.run("attach", job).returncode == 0
    both = [lab.start("restart", "--detach", job), lab.start("restart", "--detach", job)]
    ends = [process.communicate(timeout=TIMEOUT) for process in both]
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


def test_a_node_that_a_job_does_not_need_is_not_spoken_of(lab: Lab) -> None:
    impatient = lab.config.read_text().replace("connect_timeout = 20.0", "connect_timeout = 1.0")
    lab.config.write_text(impatient)
    lab.nodes[1].stop_listening()
    done = lab.run(*PLAIN, "--nodes", "1", "--no-sync", "--no-python", "--", "echo", "alone")
    assert done.returncode == 0, done.stderr
    assert "alone" in done.stdout
    assert "node1" not in done.stderr
    assert "CUDA" not in done.stderr


def test_a_secret_is_in_no_argument_no_file_and_no_screen(lab: Lab) -> None:
    secret = "s3cr3t-0123456789-value"
    lab.script(
        "import hashlib, os, time\n"
        "print(hashlib.sha256(os.environ['HF_TOKEN'].encode()).hexdigest(), flush=True)\n"
        "time.sleep(3)\n"
    )
    process = lab.start(*PLAIN, "--nodes", "2", "-e", "HF_TOKEN", "train.py", HF_TOKEN=secret)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert hashlib.sha256(secret.encode()).hexdigest() in first
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                assert secret.encode() not in Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
    out, err = process.communicate(timeout=TIMEOUT)
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
    environ |= {"PYTHONPATH": str(REPO), "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "cockpit", "run", "--no-python", sys.executable, "hello.py", "x"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "hello ['x']" in done.stdout
