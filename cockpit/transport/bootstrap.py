"""From a shell prompt on a node to a running agent: the controller's half of the bootstrap.

Transports start `command(python)`, connect its streams to an `AgentStream`, and let `start_agent`
go through the interpreters. Nothing of the user's but the interpreter's path is in the command;
settings and code travel on stdin. The node's half is `cockpit.node.entry` and `boot`.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cockpit.errors import BootstrapError, LinkError
from cockpit.protocol.messages import HANDSHAKE_TIMEOUT
from cockpit.tasks import within
from cockpit.text import clean
from cockpit.transport.base import Channel, ChannelEvents
from cockpit.transport.runtime import Runtime

INTERPRETERS = ("python3", "/usr/libexec/platform-python", "/usr/bin/python3")
"""Tried in this order for the agent; the job's Python comes last."""

# Read byte by byte, because what follows on stdin belongs to the next reader. No quotes, `!`,
# `$`, backslash or newline: sh, bash, zsh, dash, fish, csh and tcsh take it alike.
STAGE1 = (
    "import os;"
    "r=lambda n:bytes().join(os.read(0,1)for i in range(n));"
    "exec(r(int(r(4))))"
)  # fmt: skip

_STAGE2 = b"""
import os
def r(n):
    p = []
    while n > 0:
        d = os.read(0, n)
        if not d: raise SystemExit(1)
        p.append(d)
        n -= len(d)
    return b"".join(p)
a, b, c = int(r(8)), int(r(8)), int(r(8))
exec(compile(r(a), "<cockpit entry>", "exec"))
import json
b = r(b)
main(json.loads(r(c).decode()), b)
"""

_NOISE_LIMIT = 1024 * 1024
"""Bytes that shells and login scripts may print before the agent answers."""
_STDERR_KEPT = 4096
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./~@%+=:,][A-Za-z0-9_./~@%+=:,-]*")
_UNQUOTABLE = re.compile(r"['!\\\x00-\x1f\x7f]|^-")


def command(python: str) -> str:
    """The remote command that waits for the bootstrap on stdin.

    Raises BootstrapError when `python` holds characters that not every shell takes literally.
    """
    word = python
    if not _PLAIN_WORD.fullmatch(python):
        if not python or _UNQUOTABLE.search(python):
            raise BootstrapError(
                f"the interpreter {clean(python)!r} cannot be started on every login shell",
                "`python` may hold no quotes, backslashes, `!` or control characters",
            )
        word = f"'{python}'"
    return f"exec {word} -I -S -u -c '{STAGE1}'"


def arguments(python: str) -> list[str]:
    """The same as an argv, where no shell is in between."""
    return [python, "-I", "-S", "-u", "-c", STAGE1]


class AgentExited(Exception):
    """The interpreter ended before it answered; `status` is for people."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class AgentRefused(Exception):
    """The boot code answered that this node, or this interpreter, will not do."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class AgentStream:
    """What arrives from one attempt to start an agent: first answers of the boot code, then frames.

    The transport calls `stdout`, `stderr` and `ended`; it must call `ended` exactly once.
    """

    def __init__(
        self,
        node: str,
        runtime: Runtime,
        state_dir: str,
        events: Callable[[], ChannelEvents],
    ) -> None:
        self._node = node
        self._runtime = runtime
        self._state_dir = state_dir
        self._make_events = events
        self._events: ChannelEvents | None = None
        self._nonce = f"cockpit-{secrets.token_hex(16)}"
        self._buffer = bytearray()
        self._noise = 0
        self._errors = bytearray()
        self._channel: Channel | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def connected(self) -> bool:
        """The boot code has become an agent."""
        return self._events is not None

    def begin(self, channel: Channel) -> None:
        """Send the boot code over `channel`; answers may arrive from now on."""
        self._channel = channel
        settings = json.dumps(
            {
                "nonce": self._nonce,
                "digest": self._runtime.digest,
                "size": str(len(self._runtime.payload)),
                "state_dir": self._state_dir,
            }
        ).encode()
        parts = (self._runtime.entry, self._runtime.boot, settings)
        lengths = b"".join(b"%08d" % len(part) for part in parts)
        channel.write(b"%04d%b" % (len(_STAGE2), _STAGE2) + lengths + b"".join(parts))

    def stdout(self, data: bytes) -> None:
        if self._events is not None:
            self._events.received(data)
            return
        self._buffer += data
        while self._events is None and (line := self._next_answer()) is not None:
            self._answer(line)

    def stderr(self, data: bytes) -> None:
        self._errors += data
        del self._errors[:-_STDERR_KEPT]

    def ended(self, error: LinkError | None, status: str = "") -> None:
        """The streams are closed: by a lost connection (`error`), or the process ended."""
        if self._events is not None:
            self._events.closed(error or self._agent_ended(status))
        elif not self.ready.done():
            self._fail(error or AgentExited(self._with_stderr(status)))

    def closed_by_us(self) -> None:
        """As `ended`, after the owner closed the channel."""
        if self._events is not None:
            self._events.closed(None)
        elif not self.ready.done():
            self.ready.cancel()

    def said(self) -> str:
        """The last line of stderr, or of what came before an answer, for people; may be empty."""
        for source in (self._errors, self._buffer):
            lines = bytes(source[-_STDERR_KEPT:]).decode("utf-8", "replace").splitlines()
            texts = [text for line in lines if (text := clean(line).strip())]
            if texts:
                # The very last one may be the torn beginning of a line.
                return max(texts[-2:], key=len)[:300] if source is self._buffer else texts[-1][:300]
        return ""

    def _fail(self, error: Exception) -> None:
        self.ready.set_exception(error)
        self.ready.exception()  # it may be that nobody waits for it any more

    def _next_answer(self) -> bytes | None:
        marker = f"{self._nonce} ".encode()
        begin = self._buffer.find(marker)
        if begin < 0:
            # Keep what may be the beginning of a marker; the rest is a shell's own output.
            noise = len(self._buffer) - len(marker) - 512
            if noise > 0:
                self._noise += noise
                del self._buffer[:noise]
            if self._noise > _NOISE_LIMIT and not self.ready.done():
                self._fail(
                    BootstrapError(
                        f"{self._node}: the login shell prints without end ({self.said()!r})",
                        "make the shell's start files silent for non-interactive shells",
                    )
                )
            return None
        end = self._buffer.find(b"\n", begin)
        if end < 0:
            return None
        line = bytes(self._buffer[begin + len(marker) : end])
        del self._buffer[: end + 1]
        return line

    def _answer(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = {}
        if self.ready.done():
            return
        if answer.get("need") and self._channel is not None:
            self._channel.write(self._runtime.payload)
        elif answer.get("ready"):
            self._events = self._make_events()
            self.ready.set_result(None)
            rest, self._buffer = bytes(self._buffer), bytearray()
            if rest:
                self._events.received(rest)
        else:
            code, message, hint = (
                clean(str(answer.get(key, ""))) for key in ("error", "message", "hint")
            )
            self._fail(AgentRefused(code, message or "no reason was given", hint))

    def _with_stderr(self, status: str) -> str:
        said = self.said()
        return f"{status}: {said}" if said else status

    def _agent_ended(self, status: str) -> LinkError:
        return LinkError(f"{self._node}: the agent ended ({self._with_stderr(status)})")


class Launch(Protocol):
    """Starts `python` with the bootstrap command and connects it to `stream`."""

    def __call__(self, python: str, stream: AgentStream, /) -> Awaitable[Channel]: ...


async def start_agent(
    node: str,
    interpreters: Sequence[str],
    launch: Launch,
    make_stream: Callable[[], AgentStream],
    timeout: float = HANDSHAKE_TIMEOUT,
) -> tuple[Channel, str]:
    """Start the agent with the first interpreter that will do; returns the channel and which.

    Raises LinkError when the connection is lost, BootstrapError (with what each interpreter
    said) when none will do or nothing answers within `timeout` seconds.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    tried: list[str] = []
    for python in interpreters:
        stream = make_stream()
        channel: Channel | None = None
        try:
            channel = await launch(python, stream)
            stream.begin(channel)
            left = max(deadline - asyncio.get_running_loop().time(), 0.001)
            await within(stream.ready, left)
            return channel, python
        except asyncio.TimeoutError:
            await _close(channel)
            raise BootstrapError(
                f"{node}: {python} did not answer within {timeout:.0f} s"
                + (f"; it printed {said!r}" if (said := stream.said()) else ""),
                "a login script may be waiting for input, or the home folder's disk hangs",
                retry=True,
            ) from None
        except AgentRefused as refusal:
            await _close(channel)
            if refusal.code != "python_too_old":
                raise BootstrapError(f"{node}: {refusal.message}", refusal.hint) from None
            tried.append(f"{python}: {refusal.message}")
        except AgentExited as exited:
            await _close(channel)
            tried.append(f"{python}: {exited.status}")
        except BaseException:
            await _close(channel)
            raise
    raise BootstrapError(
        f"{node}: no Python 3.9 or newer to run the agent ({'; '.join(tried)})",
        f"install Python 3.9 or newer on {node}, or set `python` in the profile",
    )


async def _close(channel: Channel | None) -> None:
    if channel is not None:
        await channel.close()
