"""In which ways a job can be started anew, and why not in the others. Pure; the dialog shows it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cockpit.model.reports import RestartOptions
from cockpit.model.types import Job, LinkState
from cockpit.text import count_of
from cockpit.tui.widgets.choices import Choice

SAME, WITHOUT, SPARES, CHECKPOINT = "same", "without", "spares", "checkpoint"
_NAMED = 4


class Offers:
    """What can be chosen for the next attempt of `job`.

    `marked` are names of nodes; those that the job does not have are left out. `spares` are the
    names of the cluster's spare nodes.
    """

    def __init__(self, job: Job, marked: Collection[str], spares: Sequence[str]) -> None:
        self._job = job
        self._names = [node.name for node in job.nodes]
        self._marked = tuple(name for name in self._names if name in marked)
        self._away = tuple(
            node.name for node in job.nodes if node.link.state is LinkState.UNREACHABLE
        )
        self._spares = tuple(name for name in spares if name not in self._names)

    @property
    def leaving(self) -> tuple[str, ...]:
        """The nodes that would not take part: the marked ones, or else those out of reach."""
        return self._marked or self._away

    @property
    def choices(self) -> tuple[Choice, ...]:
        without, spares = self._against_without(), self._against_spares()
        leaving = named(self.leaving)
        return (
            Choice(SAME, f"on the same {count_of(len(self._names), 'node')}"),
            Choice(WITHOUT, "without some nodes" if without else f"without {leaving}", without),
            Choice(SPARES, "with spare nodes" if spares else f"spares for {leaving}", spares),
            Choice(CHECKPOINT, "ask for a checkpoint first", self._against_checkpoint(), True),
        )

    def options(self, chosen: str, switched: Collection[str]) -> RestartOptions:
        return RestartOptions(
            without=self.leaving if chosen in (WITHOUT, SPARES) else (),
            spares=chosen == SPARES,
            checkpoint=CHECKPOINT in switched,
        )

    def nodes(self, options: RestartOptions) -> tuple[str, ...]:
        """The nodes of the next attempt, as far as it can be told before it starts."""
        kept = [name for name in self._names if name not in options.without]
        if options.spares:
            kept += self._spares[: len(self._names) - len(kept)]
        return tuple(kept)

    def _no_leaving(self) -> str:
        if not self.leaving:
            return "no node is marked"
        return ""

    def _against_without(self) -> str:
        if reason := self._no_leaving():
            return reason
        left = len(self._names) - len(self.leaving)
        if left < max(self._job.min_nodes, 1):
            return f"{left} would be left, it needs {self._job.min_nodes}"
        return ""

    def _against_spares(self) -> str:
        if not self._spares:
            return f"cluster {self._job.cluster} has none"
        if reason := self._no_leaving():
            return reason
        count = len(self._names) - len(self.leaving) + len(self._spares)
        if count < self._job.min_nodes:
            return f"{count} would take part, it needs {self._job.min_nodes}"
        return ""

    def _against_checkpoint(self) -> str:
        if self._job.state.ended:
            return "nothing of it runs"
        if not self._job.can_checkpoint:
            return "no rank said how"
        return ""


def named(names: Sequence[str]) -> str:
    """ "gpu01, gpu02 and 3 more"."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
