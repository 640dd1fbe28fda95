"""The agent as a child process, and the node runtime that it runs from."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cockpit.errors import BootstrapError, LinkError
from cockpit.node import boot, entry
from cockpit.transport import bootstrap, local
from cockpit.transport.bootstrap import AgentStream
from cockpit.transport.link import NodeLink
from cockpit.transport.local import LocalTransport
from cockpit.transport.runtime import Runtime, digest_of, node_runtime, pack

WAIT = 60.0


async def until(condition: Callable[[], object], seconds: float = WAIT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.01)


async def online(state_dir: Path) -> NodeLink:
    link = NodeLink("local", LocalTransport("local", str(state_dir)))
    await link.start()
    await link.ready(WAIT)
    return link


async def test_this_machine_is_a_node_like_any_other(tmp_path: Path) -> None:
    link = await online(tmp_path / "state")
    assert link.hello is not None
    assert link.hello.pid != os.getpid()
    assert link.hello.state_dir == str(tmp_path / "state")
    assert link.hello.executable == sys.executable
    assert (await link.request("clock"))["wall"] == pytest.approx(time.time(), abs=30)
    await link.close()


async def test_the_home_folder_is_found_by_the_node(home: Path) -> None:
    link = NodeLink("local", LocalTransport())
    await link.start()
    assert (await link.ready(WAIT)).state_dir == str(home / ".cockpit")
    await link.close()


async def test_the_agent_has_a_session_of_its_own_and_ends_with_its_link(tmp_path: Path) -> None:
    link = await online(tmp_path / "state")
    assert link.hello is not None
    pid = link.hello.pid
    assert os.getsid(pid) != os.getsid(0)
    await link.close()
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_a_killed_agent_is_replaced(tmp_path: Path) -> None:
    link = await online(tmp_path / "state")
    assert link.hello is not None
    first = link.hello.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: link.online and link.hello is not None and link.hello.pid != first)
    await link.close()


async def test_an_agent_that_does_not_end_at_once_is_let_go_and_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_CLOSE_GRACE", 0.2)
    link = await online(tmp_path / "state")
    assert link.hello is not None
    agent = Path(f"/proc/{link.hello.pid}")
    os.kill(link.hello.pid, signal.SIGSTOP)
    await asyncio.wait_for(link.close(), WAIT)
    try:
        assert agent.exists()
    finally:
        os.kill(link.hello.pid, signal.SIGCONT)
    # It finds its stdin closed, ends by itself, and leaves no zombie.
    await until(lambda: not agent.exists())


def test_an_agent_with_work_to_finish_outlives_the_controller(tmp_path: Path) -> None:
    """Nothing is printed either: no warning of something that was not closed."""
    script = f"""
import asyncio, os, signal, sys
from cockpit.transport import local
from cockpit.transport.link import NodeLink

async def main():
    link = NodeLink("local", local.LocalTransport("local", {str(tmp_path / "state")!r}))
    await link.start()
    hello = await link.ready({WAIT})
    os.kill(hello.pid, signal.SIGSTOP)
    local._CLOSE_GRACE = 0.1
    await link.close()
    print(hello.pid)

asyncio.run(main())
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
    )
    assert done.stderr == ""
    agent = int(done.stdout)
    try:
        assert "T (stopped)" in Path(f"/proc/{agent}/status").read_text()
    finally:
        os.kill(agent, signal.SIGCONT)
    deadline = time.monotonic() + WAIT
    while (status := Path(f"/proc/{agent}/status")).exists():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if "Z (zombie)" in status.read_text():
                break  # whoever is init here has yet to take notice
        assert time.monotonic() < deadline, "the agent did not end"
        time.sleep(0.01)


async def test_a_python_that_cannot_be_started_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    link = NodeLink("local", LocalTransport("local", str(tmp_path)))
    await link.start()
    with pytest.raises(BootstrapError, match="/no/such/python cannot be started"):
        await link.ready(WAIT)
    await link.close()


async def test_a_login_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_CLOSE_GRACE", 0.2)
    monkeypatch.setattr(bootstrap, "STAGE1", "import time; print('hm', flush=True); time.sleep(99)")
    runtime = node_runtime()

    async def launch(python: str, stream: AgentStream) -> object:
        return await LocalTransport("n")._launch(python, stream)

    with pytest.raises(
        BootstrapError, match=r"did not answer within 0 s; it printed 'hm'"
    ) as caught:
        await bootstrap.start_agent(
            "n",
            [sys.executable],
            launch,  # type: ignore[arg-type]
            lambda: AgentStream("n", runtime, str(tmp_path), lambda: pytest.fail("ready?")),
            timeout=0.5,
        )
    assert caught.value.retry


def test_importing_the_room_does_not_load_asyncssh() -> None:
    names = sorted(path.stem for path in Path(local.__file__).parent.glob("*.py"))
    ssh = {"sshsettings", "ssherrors", "sshclient", "sshchannel", "sshshell"}
    eager = {"hostkeys", "__init__", *ssh}
    wanted = [f"cockpit.transport.{name}" for name in names if name not in eager]
    assert "cockpit.transport.factory" in wanted
    script = (
        f"import sys, importlib\nfor name in {wanted}: importlib.import_module(name)\n"
        "print('asyncssh' in sys.modules, 'textual' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


# The runtime


def test_the_same_files_make_the_same_runtime_in_every_process() -> None:
    runtime = node_runtime()
    assert node_runtime() is runtime
    script = (
        "import hashlib, json, sys, zlib; from cockpit.transport import runtime as r;"
        "files = json.loads(zlib.decompress(sys.stdin.buffer.read()));"
        "files = {name: files[name] for name in set(files)};"
        "print(r.digest_of(files), hashlib.sha256(r.pack(files)).hexdigest())"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script]
        out = subprocess.run(
            command, input=runtime.payload, capture_output=True, check=True, env=environment
        ).stdout.decode()
        assert out.split() == [runtime.digest, hashlib.sha256(runtime.payload).hexdigest()]


def test_the_runtime_holds_what_runs_on_a_node_and_nothing_else() -> None:
    files = json.loads(zlib.decompress(node_runtime().payload))
    assert {
        "cockpit/__init__.py",
        "cockpit/node/agent/agent.py",
        "cockpit/protocol/frames.py",
    } <= set(files)
    assert "pynvml.py" in files
    rooms = {path.split("/")[1] for path in files if path.count("/") == 2}
    assert rooms == {"node", "protocol"}
    assert list(files) == sorted(files)


def test_both_sides_compute_the_same_digest() -> None:
    files = {"b.py": "x = 'ä'\n", "a/c.py": "", "a.py": "y"}
    assert boot.digest_of({k: v.encode() for k, v in files.items()}) == digest_of(files)
    assert boot.unpack(pack(files)) == {k: v.encode() for k, v in files.items()}
    moved = {"b.py": "x = 'ä'\n", "a/c.py": "y", "a.py": ""}
    assert digest_of(moved) != digest_of(files)


@pytest.mark.parametrize("path", ["/etc/x.py", "../x.py", "a/../../x.py", "a//b.py", "./a.py"])
def test_a_payload_that_would_leave_its_folder_is_refused(path: str) -> None:
    with pytest.raises(boot.Refusal, match="holds the path"):
        boot.unpack(pack({path: "x"}))


@pytest.mark.parametrize("payload", [b"", b"junk", zlib.compress(b"[1]"), zlib.compress(b"{")])
def test_a_damaged_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(boot.Refusal, match="damaged"):
        boot.unpack(payload)


@pytest.mark.parametrize("module", [entry, boot])
def test_the_boot_code_parses_on_python_3_6(module: ModuleType) -> None:
    source = Path(str(module.__file__)).read_text()
    ast.parse(source, feature_version=(3, 6))
    assert "__future__" not in {
        node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
    }


def test_an_install_replaces_what_is_damaged_and_leaves_no_debris(tmp_path: Path) -> None:
    files = {"a.py": b"1\n", "p/b.py": b"2\n"}
    digest = boot.digest_of(files)
    (tmp_path / digest).mkdir()
    (tmp_path / digest / "a.py").write_bytes(b"damaged")
    boot.install(files, str(tmp_path), digest, "cockpit-1")
    boot.install(files, str(tmp_path), digest, "cockpit-2")
    assert boot.read_runtime(str(tmp_path / digest)) == files
    assert [path.name for path in tmp_path.iterdir()] == [digest]


def test_a_checked_runtime_is_hashed_again_only_after_a_change(tmp_path: Path) -> None:
    files = {"a.py": b"1\n", "p/b.py": b"2\n"}
    digest = boot.digest_of(files)
    boot.install(files, str(tmp_path), digest, "cockpit-1")
    folder, module = tmp_path / digest, tmp_path / digest / "p/b.py"
    with pytest.raises(FileNotFoundError):
        entry.is_unchanged(str(tmp_path), str(folder))
    assert boot.check(str(folder), digest, entry.listing, entry.CHECKED)
    assert entry.is_unchanged(str(tmp_path), str(folder))
    (folder / "p/__pycache__").mkdir()
    (folder / "p/__pycache__/b.pyc").write_bytes(b"bytecode")
    assert entry.is_unchanged(str(tmp_path), str(folder))
    assert boot.is_whole(str(folder), digest)

    before = module.stat()
    module.write_bytes(b"3\n")
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not entry.is_unchanged(str(tmp_path), str(folder))
    assert not boot.check(str(folder), digest, entry.listing, entry.CHECKED)
    module.write_bytes(b"2\n")
    assert boot.check(str(folder), digest, entry.listing, entry.CHECKED)
    assert entry.is_unchanged(str(tmp_path), str(folder))
    (folder / "added.py").touch()
    assert not entry.is_unchanged(str(tmp_path), str(folder))


def test_a_runtime_that_others_could_write_to_is_not_run_as_it_is(tmp_path: Path) -> None:
    files = {"a.py": b"1\n"}
    digest = boot.digest_of(files)
    boot.install(files, str(tmp_path), digest, "cockpit-1")
    folder = str(tmp_path / digest)
    assert boot.check(folder, digest, entry.listing, entry.CHECKED)
    tmp_path.chmod(0o720)
    assert not entry.is_unchanged(str(tmp_path), folder)


# The command and its answers


def test_the_bootstrap_command_holds_nothing_that_a_shell_interprets() -> None:
    command = bootstrap.command("python3")
    assert command.count("'") == 2
    assert not set('!$\\"`\n') & set(command)
    assert command.startswith("exec python3 -I -S -u -c '")


@pytest.mark.parametrize("python", ["", "it's", "a!b", "a\\b", "a\nb", "-c", "a\x7f"])
def test_an_interpreter_that_not_every_shell_takes_literally_is_refused(python: str) -> None:
    with pytest.raises(BootstrapError, match="cannot be started on every login shell"):
        bootstrap.command(python)


def test_an_odd_but_possible_interpreter_is_quoted() -> None:
    assert bootstrap.command("/my venv/$x/python").startswith("exec '/my venv/$x/python' -I")
    assert bootstrap.command("~/venv/bin/python3").startswith("exec ~/venv/bin/python3 -I")


class Recorder:
    """A channel and its owner in one."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.data = b""
        self.error: object = "open"

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def received(self, data: bytes) -> None:
        self.data += data

    def closed(self, error: Exception | None) -> None:
        self.error = error


def stream(recorder: Recorder) -> tuple[AgentStream, bytes]:
    made = AgentStream(
        "n", Runtime("d" * 64, b"payload", b"entry", b"boot"), "~/.cockpit", lambda: recorder
    )
    made.begin(recorder)  # type: ignore[arg-type]
    settings = json.loads(recorder.written[0][recorder.written[0].index(b"boot{") + 4 :])
    return made, settings["nonce"].encode()


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_answers_are_found_however_they_are_split(size: int) -> None:
    recorder = Recorder()
    made, nonce = stream(recorder)
    text = b"motd\xff\x00" * 300 + nonce[:10] + b"\n" + nonce + b' {"need": true}\n'
    text += b"\n" + nonce + b' {"ready": true}\n' + b"\x00frames\n"
    for begin in range(0, len(text), size):
        made.stdout(text[begin : begin + size])
    await made.ready
    assert recorder.written[1:] == [b"payload"]
    assert recorder.data == b"\x00frames\n"
    made.ended(None, "exit code 3")
    assert isinstance(recorder.error, LinkError)
    assert "exit code 3" in recorder.error.message


async def test_the_reason_of_a_node_is_cleaned() -> None:
    made, nonce = stream(Recorder())
    answer = json.dumps({"error": "x", "message": "no\x1b]52;c;a\x07 way", "hint": "\x1b[1mdo"})
    made.stdout(nonce + b" " + answer.encode() + b"\n")
    with pytest.raises(bootstrap.AgentRefused) as caught:
        await made.ready
    assert (caught.value.message, caught.value.hint) == ("no way", "do")


async def test_what_stderr_said_explains_an_early_end() -> None:
    made, _ = stream(Recorder())
    made.stderr(b"x" * 100_000 + b"\nsh: 1: exec: python3: not found\n")
    made.ended(None, "exit code 127")
    with pytest.raises(bootstrap.AgentExited) as caught:
        await made.ready
    assert caught.value.status == "exit code 127: sh: 1: exec: python3: not found"
