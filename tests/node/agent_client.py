"""A small synchronous controller: drives a real agent process over a pair of pipes."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cockpit.protocol import frames
from cockpit.protocol.frames import INDEX_ENTRY, OFFSET, Frame, Kind

REPO = Path(__file__).resolve().parents[2]
LIMIT = 60.0
"""Seconds that any one wait may take; the machine may be busy."""


def _pythons() -> list[str]:
    """This interpreter, and one of the oldest version that must do, where there is one."""
    candidates = [found] if (found := shutil.which("python3.9")) else []
    if found and Path(found).parent.name == "shims":  # pyenv's answers only where it is enabled
        versions = Path(found).parents[1] / "versions"
        candidates = [str(path) for path in sorted(versions.glob("3.9*/bin/python"))]
    works = [
        path
        for path in candidates
        if subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0
    ]
    return [sys.executable, *works[:1]]


PYTHONS = _pythons()


class Failed(Exception):
    """The agent answered FAIL."""

    def __init__(self, failure: dict[str, Any]) -> None:
        super().__init__(failure["message"])
        self.code = failure["code"]
        self.message = failure["message"]
        self.hint = failure["hint"]
        self.details = failure["details"]


class AgentClient:
    """Owns the process. Frames are sorted by stream as they arrive."""

    def __init__(
        self, state_dir: Path, python: str = sys.executable, env: dict[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [python, "-S", "-u", "-m", "cockpit.node.agent.agent", str(state_dir), "test-runtime"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPO), **(env or {})},
            cwd="/",
        )
        assert self.process.stdout is not None
        self._out = self.process.stdout.fileno()
        self._decoder = frames.Decoder()
        self.arrived: list[Frame] = []
        """Every frame in order of arrival."""
        self.generous: set[int] = set()
        """Streams that get credit back for whatever arrives."""
        self._streams: dict[int, collections.deque[Frame]] = collections.defaultdict(
            collections.deque
        )
        self._next = 0

    # Sending

    def send(self, kind: int, stream: int, payload: bytes = b"") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(frames.encode(kind, stream, payload))
        self.process.stdin.flush()

    def request(self, op: str, **arguments: Any) -> int:
        self._next += 1
        self.send(Kind.REQUEST, self._next, json.dumps({"op": op, **arguments}).encode())
        return self._next

    def credit(self, stream: int, amount: int) -> None:
        self.send(Kind.CREDIT, stream, OFFSET.pack(amount))

    def close_stream(self, stream: int) -> None:
        self.send(Kind.CLOSE, stream)

    # Receiving

    def pump(self, timeout: float) -> bool:
        """Read once; False when nothing came in `timeout` seconds."""
        if not select.select([self._out], [], [], timeout)[0]:
            return False
        data = os.read(self._out, 1 << 20)
        if not data:
            raise EOFError(f"the agent has ended: {self.stderr()}")
        for frame in self._decoder.feed(data):
            self.arrived.append(frame)
            if frame.kind == Kind.DATA and frame.stream in self.generous:
                self.credit(frame.stream, len(frame.payload) - OFFSET.size)
            self._streams[frame.stream].append(frame)
        return True

    def next(self, stream: int, timeout: float = LIMIT) -> Frame:
        """The next frame of `stream`, FAIL included."""
        deadline = time.monotonic() + timeout
        while not self._streams[stream]:
            if not self.pump(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"no frame of stream {stream} in {timeout} s")
        return self._streams[stream].popleft()

    def waiting(self, stream: int, timeout: float) -> Frame | None:
        """The next frame of `stream`, or None when none comes in `timeout` seconds."""
        try:
            return self.next(stream, timeout)
        except TimeoutError:
            return None

    def answer(self, stream: int, *kinds: int) -> dict[str, Any]:
        """The JSON of the next frame, which must be of one of `kinds` (REPLY by default)."""
        frame = self.next(stream)
        value: dict[str, Any] = json.loads(frame.payload)
        if frame.kind == Kind.FAIL:
            raise Failed(value)
        assert frame.kind in (kinds or (Kind.REPLY,)), frame
        return value

    def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        return self.answer(self.request(op, **arguments))

    def event(self, stream: int) -> dict[str, Any]:
        return self.answer(stream, Kind.EVENT)

    def end(self, stream: int) -> dict[str, Any]:
        """The END of a stream; what comes before it is dropped."""
        while True:
            frame = self.next(stream)
            if frame.kind in (Kind.END, Kind.FAIL):
                value: dict[str, Any] = json.loads(frame.payload)
                if frame.kind == Kind.FAIL:
                    raise Failed(value)
                return value

    def hello(self) -> dict[str, Any]:
        return self.answer(0, Kind.HELLO)

    def follow(self, path: str, offset: int = 0, credit: int = 1 << 40, **more: Any) -> Following:
        stream = self.request("follow", path=path, offset=offset, credit=credit, **more)
        return Following(self, stream)

    # The end

    def stderr(self) -> str:
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        return (self.process.stderr.read() or b"").decode("utf-8", "replace")

    def hang_up(self) -> int:
        """Close the agent's stdin; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(LIMIT)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert file is not None
            with contextlib.suppress(BrokenPipeError):
                file.close()


class Following:
    """A follow stream: collects bytes and index entries, checks that offsets have no gap."""

    def __init__(self, client: AgentClient, stream: int) -> None:
        self.client = client
        self.stream = stream
        self.reply = client.answer(stream)
        self.position: int = self.reply["offset"]
        self.data = bytearray()
        self.entries: list[tuple[int, float]] = []
        self.ended: dict[str, Any] | None = None

    def take(self, frame: Frame) -> None:
        if frame.kind == Kind.DATA:
            offset = OFFSET.unpack_from(frame.payload)[0]
            assert offset == self.position, f"a gap: {offset} after {self.position}"
            body = frame.payload[OFFSET.size :]
            assert body
            self.data += body
            self.position += len(body)
        elif frame.kind == Kind.INDEX:
            self.entries += INDEX_ENTRY.iter_unpack(frame.payload)
        elif frame.kind == Kind.END:
            self.ended = json.loads(frame.payload)
        else:
            raise AssertionError(frame)

    def until(self, size: int) -> bytes:
        """Receive until `size` bytes have come."""
        while len(self.data) < size:
            self.take(self.client.next(self.stream))
        return bytes(self.data)

    def until_end(self) -> dict[str, Any]:
        while self.ended is None:
            self.take(self.client.next(self.stream))
        return self.ended

    def quiet(self, seconds: float) -> bool:
        """Nothing comes for `seconds`."""
        frame = self.client.waiting(self.stream, seconds)
        if frame is not None:
            self.take(frame)
        return frame is None
