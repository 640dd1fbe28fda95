"""Checkpoints on request: what each node tells of the newest one, and what a job makes of it.

`CheckpointFold` depends on one node's journal only; `of_job` puts the nodes together. Nothing of
this decides how a job stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from cockpit.model import events as ev
from cockpit.model.types import Checkpoint, JobNode, RankState
from cockpit.text import count_of


class CheckpointFold:
    """The newest request of a node."""

    def __init__(self) -> None:
        self.newest: Checkpoint | None = None

    def apply(self, event: ev.Checkpoint | ev.CheckpointSaved | ev.CheckpointVoid) -> None:
        known = self.newest
        match event:
            case ev.Checkpoint():
                self.newest = Checkpoint(
                    command=event.command,
                    generation=event.generation,
                    step=event.step,
                    by=event.by,
                    at=event.at,
                    ranks=event.ranks,
                )
            case ev.CheckpointSaved():
                if known is not None and known.command == event.command:
                    saved = dict(known.saved)
                    saved.update((item.rank, item.step) for item in event.ranks)
                    self.newest = msgspec.structs.replace(known, saved=tuple(sorted(saved.items())))
            case ev.CheckpointVoid() if event.generation is None:
                self._refused(event)
            case ev.CheckpointVoid():
                if known is not None and known.generation == event.generation:
                    self.newest = msgspec.structs.replace(known, void=event.reason)

    def _refused(self, event: ev.CheckpointVoid) -> None:
        if not event.reason:
            return
        known = self.newest
        # What is open goes on; what was refused after it is only of interest without it.
        if known is None or known.void or known.complete:
            self.newest = Checkpoint(
                command=event.command,
                generation=None,
                step=None,
                by=event.by,
                at=event.at,
                void=event.reason,
            )


def words(checkpoint: Checkpoint) -> str:
    """For people: "checkpoint at step 1240: 6 of 8 ranks saved"."""
    if checkpoint.step is None:
        return f"no checkpoint: {checkpoint.void}"
    what, many = f"checkpoint at step {checkpoint.step}", len(checkpoint.ranks)
    if checkpoint.complete:
        steps = sorted({step for _, step in checkpoint.saved})
        apart = "" if len(steps) == 1 else f", at steps {steps[0]} to {steps[-1]}"
        return f"{what}: saved by {count_of(many, 'rank')}{apart}"
    text = f"{what}: {len(checkpoint.saved)} of {count_of(many, 'rank')} saved"
    return f"{text}; {checkpoint.void}" if checkpoint.void else text


def possible(nodes: Sequence[JobNode]) -> bool:
    """Whether any rank that runs has said that it makes checkpoints on request."""
    return any(
        rank.checkpoint_step is not None and rank.state is RankState.RUNNING
        for node in nodes
        for rank in node.ranks
    )


def of_job(nodes: Sequence[JobNode], skews: Mapping[str, float]) -> Checkpoint | None:
    """The newest request, with what all nodes say of it; `skews` as `clocks.skews` gives them."""
    found = [
        msgspec.structs.replace(node.checkpoint, at=node.checkpoint.at - skews.get(node.name, 0.0))
        for node in nodes
        if node.checkpoint is not None
    ]
    if not found:
        return None
    newest = max(found, key=lambda item: (item.at, item.command))
    parts = [item for item in found if item.command == newest.command]
    reached = [item for item in parts if item.step is not None]
    return msgspec.structs.replace(
        reached[0] if reached else newest,
        at=min(item.at for item in parts),
        ranks=tuple(sorted({rank for item in parts for rank in item.ranks})),
        saved=tuple(sorted({pair for item in parts for pair in item.saved})),
        void=next((item.void for item in parts if item.void), ""),
    )
