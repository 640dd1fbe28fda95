"""A checkpoint on request, as one node's supervisor carries it to its ranks and tells of it.

Somebody who sees the whole world names a step that is a little ahead of all of it; every node
writes the request into the slots of its ranks, and each rank obeys at that very step. So the ranks
of a job save together without a word between them. What came of it is told in the journal; this
module waits for nothing and ends nothing. A request belongs to one generation and ends with it.
"""

from __future__ import annotations

import contextlib

from cockpit.node import journal
from cockpit.node.rank import slot
from cockpit.node.supervise.beats import GenerationBeats, RankBeats
from cockpit.node.supervise.commands import Command
from cockpit.node.supervise.folding import PastCheckpoint


class Checkpoints:
    """The requests of one attempt, one at a time; the newest one counts."""

    def __init__(self, events: journal.Journal, past: PastCheckpoint | None = None) -> None:
        self._events = events
        self._number = past.number if past is not None else 0
        self._open: PastCheckpoint | None = None
        if past is not None and not past.void and past.saved != past.ranks:
            self._open = past
        self._saved: set[int] = set(past.saved) if past is not None else set()

    def obey(self, command: Command, beats: GenerationBeats | None) -> None:
        """Carry a request to the ranks of the generation that runs, None for none of them.

        `beats` are of this moment.
        """
        if command.step is None:
            return self._withdraw(command, beats)
        if beats is None:
            return self.refuse(command, "no ranks run")
        if self._open is not None:
            self._take_back(beats)
            self._void(self._open, "another one was asked for")
        able = [rank for rank in beats.ranks if rank.makes_checkpoints is not None]
        if not able:
            return self.refuse(command, "no rank's code makes checkpoints on request")
        if command.step > slot.MAX_ASKED_STEP:
            return self.refuse(command, f"step {command.step} is too high")
        self._number = self._number % slot.MAX_REQUEST + 1
        try:
            for rank in able:
                _ask(rank, self._number, command.step)
        except OSError as error:
            self._take_back(beats)
            return self.refuse(command, f"asking the ranks failed: {error.strerror or error}")
        late = [rank.rank for rank in able if _asked_step(rank) >= command.step]
        if late:
            # The rest of the world makes it at that step, this rank would at a later one.
            self._take_back(beats)
            return self.refuse(command, f"rank {late[0]} is past step {command.step} already")
        self._open = PastCheckpoint(
            command.id,
            beats.number,
            self._number,
            command.step,
            frozenset(rank.rank for rank in able),
        )
        self._saved = set()
        self._events.write(
            "checkpoint",
            command=command.id,
            by=command.by,
            reason=command.reason,
            generation=beats.number,
            number=self._number,
            step=command.step,
            ranks=sorted(self._open.ranks),
        )
        return None

    def refuse(self, command: Command, why: str) -> None:
        self._events.write(
            "checkpoint_void", command=command.id, by=command.by, generation=None, reason=why
        )

    def look(self, beats: GenerationBeats, *, over: bool) -> None:
        """Tell which ranks have saved it. `over`: the generation has ended; the rest will not."""
        wanted = self._open
        if wanted is None:
            return
        if beats.number == wanted.generation:
            self._tell_saved(wanted, beats, at_once=over)
        if self._saved >= wanted.ranks:
            self._open = None
        elif over or beats.number != wanted.generation:
            self._void(wanted, "the generation has ended")

    def _tell_saved(self, wanted: PastCheckpoint, beats: GenerationBeats, *, at_once: bool) -> None:
        fresh = []
        for rank in beats.ranks:
            beat = rank.look_now() if at_once else rank.newest
            if beat is None or rank.rank in self._saved or rank.rank not in wanted.ranks:
                continue
            if beat.saved == wanted.number:
                fresh.append({"rank": rank.rank, "step": beat.answered_step})
        if fresh:
            self._saved.update(int(item["rank"]) for item in fresh)
            self._events.write(
                "checkpoint_saved",
                command=wanted.command,
                generation=wanted.generation,
                ranks=fresh,
            )

    def _withdraw(self, command: Command, beats: GenerationBeats | None) -> None:
        wanted = self._open
        if beats is not None:
            self._take_back(beats)
        if wanted is None:
            return self.refuse(command, "")
        self._void(wanted, f"taken back by {command.by}", command)
        return None

    def _void(self, wanted: PastCheckpoint, why: str, command: Command | None = None) -> None:
        self._open = None
        self._events.write(
            "checkpoint_void",
            # A command that took it back has had its effect with this.
            command=command.id if command is not None else wanted.command,
            generation=wanted.generation,
            reason=why,
        )

    def _take_back(self, beats: GenerationBeats) -> None:
        for rank in beats.ranks:
            with contextlib.suppress(OSError):  # it has no slot, so it was never asked
                asker = slot.Asker(rank.slot_path)
                asker.withdraw()
                asker.close()


def _ask(rank: RankBeats, number: int, step: int) -> None:
    asker = slot.Asker(rank.slot_path)
    asker.ask(number, step)
    asker.close()


def _asked_step(rank: RankBeats) -> int:
    """The step at which the rank has asked last, now."""
    beat = rank.look_now()
    return beat.asked_step if beat is not None else 0
