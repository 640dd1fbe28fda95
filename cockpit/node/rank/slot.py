"""The heartbeat slot of one rank: a page of shared memory with one writer and any reader.

Written by the rank itself (`instrument` loads this file by its path, so it imports nothing of
cockpit) and by ft_launcher's rank monitors; read by the supervisor. A beat is a store into mapped
memory: it never blocks, needs no reader, and its last value outlives the process. One word of the
page goes the other way: in it the supervisor asks for a checkpoint.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SIZE = 4096
MAGIC = b"CKPB"
VERSION = 1

HOOKED = 1
"""Flag: torch's optimizer hook is in place, so that every optimizer step beats."""
USER = 2
"""Flag: the user's code beats by `cockpit.heartbeat`; its `step` is the one that counts."""
OWN = 4
"""Flag: the time that a rank did not wait for others is told."""
ENDED = 8
"""Flag: the script and its threads came to their end; nothing beats any more."""

CHECKPOINTS = 16
"""Flag: the user's code asks by `cockpit.checkpoint_wanted` whether to make a checkpoint."""

MAX_METRICS = 64
MAX_NAME = 40
"""Bytes of a metric's name."""
MAX_NOTE = 128
MAX_TEXT = 512

_HEAD = struct.Struct("=4sI")
_WORD = struct.Struct("=Q")
_BODY = struct.Struct("=QqQQQQ")
"""beats, step, mono_ns of the last beat, steps, own_ns, own_steps"""
_FIXED = struct.Struct("=QQQqQ")
"""flags, number of metrics, pid, local rank, mono_ns of the start"""
_ENTRY = struct.Struct(f"={MAX_NAME}sd")
_NEWEST_AT = 8
"""The number of the newest beat; an even one is in the first body, an odd one in the second."""
_FIXED_AT = 16
_BODIES_AT = (64, 128)
_NOTE_AT = 192
_TEXT_AT = 320
_ASKED_AT = 832
"""The word of the supervisor: which checkpoint is wanted, at which step. 0: none."""
_WORDS_AT = 840
_WORDS = struct.Struct("=QQQ")
"""Of checkpoints: the step at which the code has asked last whether one is wanted, the request
that it was told of and the step of that, the number of the request that it has saved."""
_METRICS_AT = 1024
_NO_STEP = -1
_MAX_STEP = 2**62
_TRIES = 100
_STEP_BITS = 48
_STEP_MASK = (1 << _STEP_BITS) - 1
MAX_ASKED_STEP = _STEP_MASK
MAX_REQUEST = (1 << (64 - _STEP_BITS)) - 1
"""A request is one word, its number above its step, so that no half of one is ever read."""

_ASKED_WORD = _ASKED_AT // 8
_STEP_WORD, _ANSWER_WORD, _SAVED_WORD = range(_WORDS_AT // 8, _WORDS_AT // 8 + 3)

_pack_body = _BODY.pack_into

current: Slot | None = None
"""The slot of this process, if it is a rank that beats; `cockpit.heartbeat` finds it here."""


class Slot:
    """The writing end. `path` must not exist. Raises OSError, then there is no slot.

    Room is taken before it is mapped: a store into a page that a full disk cannot give would end
    the process by SIGBUS.

    Beats go to two bodies in turn; the word that says which one is newer is stored after the body
    and at once. So a reader (see Reader) never meets half a body as the newest, not even when the
    process is killed in the middle of one, and threads may beat at the same time.
    """

    def __init__(self, path: str, local_rank: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(fd, 0, SIZE)
            self._use(mmap.mmap(fd, SIZE))
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        self._beats = 0
        self._step = _NO_STEP
        self._steps = 0
        self._own_ns = 0
        self._own_steps = 0
        self._flags = 0
        self._answered = 0
        """Number of the request for a checkpoint that the code was told of last."""
        self._notes: list[str] = []
        self._metrics: dict[str, int] = {}
        self._complaints: set[str] = set()
        _FIXED.pack_into(self._map, _FIXED_AT, 0, 0, os.getpid(), local_rank, monotonic_ns())
        for at in _BODIES_AT:
            _pack_body(self._map, at, 0, _NO_STEP, 0, 0, 0, 0)
        _HEAD.pack_into(self._map, 0, MAGIC, VERSION)
        # A forked child is another process: what it does is no beat of this rank.
        os.register_at_fork(after_in_child=lambda: self._use(bytearray(SIZE)))

    def _use(self, memory: Any) -> None:
        self._map = memory
        # Stored to by whole words; struct clears what it packs into before it does so.
        self._words = memoryview(memory).cast("Q")
        self._doubles = memoryview(memory).cast("d")

    @property
    def flags(self) -> int:
        return self._flags

    def add_flags(self, flags: int) -> None:
        self._flags |= flags
        self._words[_FIXED_AT // 8] = self._flags

    def note(self, text: str) -> None:
        """Say why something is not instrumented; of all that is said, MAX_NOTE bytes are kept."""
        self._notes.append(text)
        self._write_text(_NOTE_AT, MAX_NOTE, "; ".join(self._notes))

    def sections(self, names: Iterable[str]) -> None:
        """Replace the list of open sections."""
        self._write_text(_TEXT_AT, MAX_TEXT, "\n".join(names))

    def step(self, own_ns: int = -1) -> int:
        """One more step is done. `own_ns` is the part of it not spent waiting, where it is told.

        Once the user's code gives steps of its own, this beats without counting. Returns the time
        of the beat, monotonic ns.
        """
        self._steps += 1
        if own_ns >= 0:
            self._own_ns += own_ns
            self._own_steps += 1
        if not self._flags & USER:
            self._step += 1
        self._beats = beats = self._beats + 1
        now = monotonic_ns()
        _pack_body(
            self._map,
            _BODIES_AT[beats & 1],
            beats,
            self._step,
            now,
            self._steps,
            self._own_ns,
            self._own_steps,
        )
        self._words[1] = beats
        return now

    def beat(self) -> None:
        """Alive, and no step further."""
        self._beats = beats = self._beats + 1
        _pack_body(
            self._map,
            _BODIES_AT[beats & 1],
            beats,
            self._step,
            monotonic_ns(),
            self._steps,
            self._own_ns,
            self._own_steps,
        )
        self._words[1] = beats

    def heartbeat(self, /, step: int | None = None, **metrics: float | None) -> None:
        """What `cockpit.heartbeat` is inside a rank; see there. Raises nothing."""
        if step is not None:
            self._set_step(step)
        for name, value in metrics.items():
            at = self._metrics.get(name) or self._place(name)
            if at and value is not None:
                try:
                    self._doubles[at] = value
                except Exception:  # noqa: BLE001 - whatever it is, it must not end the training
                    self._complain(name, f"{name!r} is no number: {type(value).__name__}")
        self.beat()

    def checkpoint_wanted(self, step: int | None = None) -> bool:
        """What `cockpit.checkpoint_wanted` is inside a rank; see there. Raises nothing."""
        if not self._flags & CHECKPOINTS:
            self.add_flags(CHECKPOINTS)
        words = self._words
        try:
            number = words[_STEP_WORD] = self._step + 1 if step is None else step
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the training
            number = self._odd_step(step)
        asked = words[_ASKED_WORD]
        if not asked or asked >> _STEP_BITS == self._answered or number < asked & _STEP_MASK:
            return False
        self._answered = asked >> _STEP_BITS
        words[_ANSWER_WORD] = self._answered << _STEP_BITS | min(number, _STEP_MASK)
        return True

    def _odd_step(self, step: Any) -> int:
        """The number of a step that is not simply one: a tensor's, a float, or none at all."""
        try:
            number = max(int(step), 0)
            self._words[_STEP_WORD] = number
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the training
            self._complain("checkpoint", f"the step of checkpoint_wanted is {type(step).__name__}")
            return -1
        return number

    def checkpoint_saved(self) -> None:
        """What `cockpit.checkpoint_saved` is inside a rank; see there."""
        if self._answered:
            self._words[_SAVED_WORD] = self._answered

    def _set_step(self, step: Any) -> None:
        try:
            number = int(step)
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the training
            self._complain("", f"step is no number: {type(step).__name__}")
            return
        self._step = number if 0 <= number < _MAX_STEP else _NO_STEP
        if not self._flags & USER:
            self.add_flags(USER)

    def _write_text(self, at: int, size: int, text: str) -> None:
        data = text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore").encode()
        self._map[at : at + size] = data.ljust(size, b"\0")

    def _place(self, name: str) -> int:
        """The place of a new metric's value, in doubles; 0 where there is none for it.

        Two names of which one is the other's beginning stay apart: nothing is cut.
        """
        data = name.encode("utf-8", "replace")
        if len(data) > MAX_NAME:
            self._complain("name too long", f"{name!r} is longer than {MAX_NAME} bytes")
            return 0
        if len(self._metrics) >= MAX_METRICS:
            self._complain("too many", f"{name!r} is one metric more than {MAX_METRICS}")
            return 0
        at = _METRICS_AT + len(self._metrics) * _ENTRY.size
        _ENTRY.pack_into(self._map, at, data, float("nan"))
        self._metrics[name] = place = (at + MAX_NAME) // 8
        self._words[_FIXED_AT // 8 + 1] = len(self._metrics)
        return place

    def _complain(self, about: str, text: str) -> None:
        """Once for each `about`: a metric, or a limit."""
        if about in self._complaints:
            return
        self._complaints.add(about)
        try:
            sys.stderr.write(f"cockpit.heartbeat leaves it out: {text}\n")
        except Exception:  # noqa: BLE001 - closed, broken, or the user's own: then nobody is told
            return


class Beat:
    """What a slot says: `mono_ns` of the last beat and of the start, 0 where there was none.

    `step` is the user's own where there is one (flag USER), else the number of the newest optimizer
    step, from 0; `steps` counts optimizer steps in either case. Of `own_steps` of them it is told
    that they took `own_ns` together without waiting for other ranks.

    Where the code makes checkpoints (flag CHECKPOINTS), `asked_step` is the step at which it has
    asked last whether one is wanted, `answered` the number of the request that it was told of, at
    `answered_step`, and `saved` that of the newest that it has saved; 0 is none.
    """

    __slots__ = (
        "answered", "answered_step", "asked_step", "beats", "flags", "local_rank", "metrics",
        "mono_ns", "note", "own_ns", "own_steps", "pid", "saved", "sections", "started_ns", "step",
        "steps",
    )  # fmt: skip

    def __init__(self, data: bytes) -> None:
        """Raises ValueError for what is no slot."""
        magic, version = _HEAD.unpack_from(data, 0)
        if magic != MAGIC or version != VERSION:
            raise ValueError("this is no heartbeat slot")
        newest = _WORD.unpack_from(data, _NEWEST_AT)[0]
        body = _BODY.unpack_from(data, _BODIES_AT[newest & 1])
        self.beats, step, self.mono_ns, self.steps, self.own_ns, self.own_steps = body
        self.step = step if step >= 0 else None
        fixed = _FIXED.unpack_from(data, _FIXED_AT)
        self.flags, count, self.pid, self.local_rank, self.started_ns = fixed
        self.note = _text(data[_NOTE_AT : _NOTE_AT + MAX_NOTE])
        sections = _text(data[_TEXT_AT : _TEXT_AT + MAX_TEXT])
        self.sections = tuple(sections.split("\n")) if sections else ()
        self.asked_step, answer, self.saved = _WORDS.unpack_from(data, _WORDS_AT)
        self.answered, self.answered_step = answer >> _STEP_BITS, answer & _STEP_MASK
        self.metrics: dict[str, float] = {}
        for index in range(min(count, MAX_METRICS)):
            name, value = _ENTRY.unpack_from(data, _METRICS_AT + index * _ENTRY.size)
            self.metrics[_text(name)] = value


class Asker:
    """The supervisor's word in the slot at `path`. Raises OSError where there is no slot."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < SIZE:
                raise OSError(f"{path} is too short for a heartbeat slot")
            self._map = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)

    def ask(self, number: int, step: int) -> None:
        """Want checkpoint `number` from step `step` on; 1 to MAX_REQUEST, 0 to MAX_ASKED_STEP."""
        self._store(number << _STEP_BITS | step)

    def withdraw(self) -> None:
        """Want none; who was told of one already goes on with it."""
        self._store(0)

    def close(self) -> None:
        self._map.close()

    def _store(self, word: int) -> None:
        # By a whole word; struct would clear the place before it stores to it.
        with memoryview(self._map).cast("Q") as words:
            words[_ASKED_WORD] = word


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "replace")


class Reader:
    """The reading end of one slot. Raises OSError where there is none.

    The writer stores the body of beat n, then the number n, and the body of n + 2 in the place
    of n. So a body is whole where the number is the same before and after it is read. Metrics
    and texts are not bound to a beat.
    """

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < SIZE:
                raise OSError(f"{path} is too short for a heartbeat slot")
            self._map: Any = mmap.mmap(fd, SIZE, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)

    def read(self) -> Beat | None:
        """What it says now; None where it is no slot, or is written to without a pause."""
        number = slice(_NEWEST_AT, _NEWEST_AT + _WORD.size)
        for _ in range(_TRIES):
            newest = self._map[number]
            data = self._map[:]
            if self._map[number] == newest == data[number]:
                break
        else:
            return None
        try:
            return Beat(data)
        except ValueError:
            return None

    def close(self) -> None:
        self._map.close()
