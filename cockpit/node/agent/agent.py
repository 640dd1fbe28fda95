"""The agent: one process per connection, which does on a node what a controller asks for.

Started by the bootstrap with frames from the controller on descriptor 0 and frames to it on 1. It
answers the requests of `cockpit.protocol.messages` and ends with the connection. It starts jobs
only by leaving them to supervisors, so nothing that runs depends on it.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
import time

import cockpit
from cockpit.node import openfiles
from cockpit.node.agent.connection import Connection
from cockpit.node.agent.explain import failure
from cockpit.node.agent.loop import Loop
from cockpit.node.agent.operations import Operations
from cockpit.node.agent.streams import OneShot, Services
from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError
from cockpit.node.statedir import Node, open_state_dir
from cockpit.protocol import frames
from cockpit.protocol.frames import Frame, Kind

ADOPT_AFTER = 0.5
"""Seconds after the start at which attempts without a supervisor are looked for; a controller
that reconnects gets its log lines first."""
FAREWELL = 20.0
"""Seconds that work on the node's state may take to finish after the controller has gone."""
_CREDIT = frames.OFFSET


def main(state_dir: str, runtime: str) -> int:
    """Serve the controller on descriptors 0 and 1 until it is gone. Returns an exit code.

    `state_dir` is made if needed; `runtime` is the digest of the running node runtime, for HELLO.
    A state folder that cannot be used is answered with one FAIL frame of stream 0 instead of it.
    Takes over both descriptors: what is printed later goes to stderr.
    """
    os.umask(0o077)
    openfiles.raise_limit()
    incoming, outgoing = _private_descriptors()
    host = os.uname().nodename
    try:
        node = Node(host, open_state_dir(state_dir, host), _runtime_folder())
    except RequestFailedError as error:
        sys.stderr.write(f"cockpit: {error.message}\n")
        os.write(outgoing, frames.encode_json(Kind.FAIL, 0, failure(error, host)))
        return 1
    agent = Agent(node, incoming, outgoing)
    return agent.serve(runtime)


def _runtime_folder() -> str:
    """Where the package that runs here was imported from; supervisors import it from there too."""
    return os.path.dirname(os.path.dirname(os.path.realpath(cockpit.__file__)))


def _private_descriptors() -> tuple[int, int]:
    """Copies of descriptors 0 and 1 that no child and no stray print can reach."""
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:
        os.dup2(null, 1)
        os.dup2(null, 2)
    os.close(null)
    return incoming, outgoing


def _silence() -> None:
    """Nobody reads stderr any more; what is said must not end work that is being finished."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


class Agent:
    """Takes frames to the streams they belong to, and begins new ones."""

    def __init__(self, node: Node, incoming: int, outgoing: int) -> None:
        self._node = node
        self._loop = Loop()
        self._services = Services(node, self._loop)
        self._operations = Operations(self._services)
        self._connection = Connection(self._loop, incoming, outgoing, self._received, self._closed)
        self._services.connection = self._connection

    def serve(self, runtime: str) -> int:
        """Say HELLO and work until the connection ends."""
        self._connection.send(Kind.HELLO, 0, hello(self._node, runtime))
        if os.path.isdir(f"{self._node.state_dir}/jobs"):
            self._loop.later(ADOPT_AFTER, self._adopt)
        try:
            code = self._loop.run(self._connection.pump)
        finally:
            self._operations.close()
        _silence()
        for stream in list(self._services.streams.values()):
            stream.ended = True
            stream.release()
        self._loop.run_for(FAREWELL, lambda: self._services.workers.idle)
        return code

    def _adopt(self) -> None:
        """A scan of the jobs also gives a new supervisor to each attempt that has lost its own."""
        self._operations.jobs_probe.ask(lambda *_: None)

    def _closed(self, error: frames.FrameError | None) -> None:
        if error is not None:
            sys.stderr.write(f"cockpit: the agent received what is no frame: {error}\n")
        self._loop.stop(0 if error is None else 1)

    def _received(self, frame: Frame) -> None:
        if frame.kind == Kind.REQUEST:
            self._begin(frame)
            return
        stream = self._services.streams.get(frame.stream)
        if stream is None:
            return  # it ended while this was on its way
        try:
            if frame.kind == Kind.CREDIT:
                stream.credit(_credit(frame.payload))
            elif frame.kind == Kind.DATA:
                stream.data(frame.payload)
            elif frame.kind == Kind.END:
                stream.finish()
            elif frame.kind == Kind.CLOSE:
                stream.close()
        except Exception as error:  # noqa: BLE001 - answered; the agent lives on
            stream.fail(error)

    def _begin(self, frame: Frame) -> None:
        number = frame.stream
        if number in self._services.streams:
            self._refuse(number, f"stream {number} is in use")
            return
        try:
            values = json.loads(frame.payload)
        except (ValueError, RecursionError) as error:
            self._refuse(number, f"the request is not JSON: {error}")
            return
        if not isinstance(values, dict) or not isinstance(values.get("op"), str):
            self._refuse(number, "a request is an object with `op`")
            return
        try:
            self._operations.start(number, Arguments(values["op"], values))
        except Exception as error:  # noqa: BLE001 - answered; the agent lives on
            # The operation may not have come far enough to be a stream.
            stream = self._services.streams.get(number) or OneShot(self._services, number)
            stream.fail(error)

    def _refuse(self, number: int, message: str) -> None:
        error = RequestFailedError("bad_request", message)
        self._connection.send(Kind.FAIL, number, failure(error, self._node.host))


def _credit(payload: bytes) -> int:
    if len(payload) != _CREDIT.size:
        raise RequestFailedError("bad_request", f"credit is {_CREDIT.size} bytes long")
    return int(_CREDIT.unpack(payload)[0])


def hello(node: Node, runtime: str) -> dict[str, object]:
    """`messages.Hello` as a dictionary; that module's imports would double the time to start."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    return {
        "protocol": frames.PROTOCOL_VERSION,
        "version": cockpit.__version__,
        "host": node.host,
        "user": _user(),
        "uid": os.getuid(),
        "boot_id": _boot_id(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable or "",
        "state_dir": node.state_dir,
        "runtime": runtime,
        "pid": os.getpid(),
        "address": connection[2] if len(connection) == 4 else "",
        "wall": time.time(),
        "mono": time.monotonic(),
    }


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("USER", "") or str(os.getuid())


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
