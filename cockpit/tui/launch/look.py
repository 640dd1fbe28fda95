"""What the launch form knows of its draft at one moment, and how it says so. No widgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cockpit.errors import CockpitError
from cockpit.model.choosing import Candidate
from cockpit.model.doctor import Report
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.launch import wording as launchwords
from cockpit.tui.launch.fields import FIELDS
from cockpit.tui.launch.pad import Checked, Preview

PLANNING = "planning…"

About = tuple[object, ...]
"""What a report is about: the cluster, the kind of launcher, the nodes."""


@dataclasses.dataclass
class Look:
    """The newest of everything: what is wrong, what would run, what the nodes said of it."""

    pristine: bool = True
    """Nothing was typed yet."""
    checked: Checked | None = None
    preview: Preview | None = None
    error: CockpitError | None = None
    """Why there is no plan."""
    doing: str = PLANNING
    asking: str = ""
    notes: tuple[Line, ...] = ()
    """What stands above the plan."""
    reports: dict[About, tuple[float, Report]] = dataclasses.field(default_factory=dict)
    """What was found, and when (the frame's `mono`)."""

    def typed(self, *, pristine: bool) -> None:
        """What was known is about another draft now."""
        self.pristine = pristine
        self.notes, self.preview, self.error = (), None, None

    @property
    def about(self) -> About:
        """What a report on the preview is about; empty without one."""
        if self.preview is None:
            return ()
        request = self.preview.request
        names = tuple(spec.name for spec in request.nodes[: request.max_nodes])
        return (request.cluster.name, request.launcher.kind, names)

    @property
    def report(self) -> Report | None:
        found = self.reports.get(self.about)
        return None if found is None else found[1]

    @property
    def wrong(self) -> bool:
        return self.checked is not None and bool(self.checked.problems)

    @property
    def waits(self) -> bool:
        """Nothing was typed yet, and nothing is wrong but that."""
        problems = self.checked.problems if self.checked is not None else {}
        return self.pristine and set(problems) == {"target"}

    @property
    def objection(self) -> str:
        """Why nothing can be launched now; "" when it can."""
        if self.checked is not None and self.checked.problems:
            problems = self.checked.problems
            if set(problems) == {""}:
                return problems[""].message
            if self.waits:
                return "nothing to run yet"
            return f"{count_of(len(problems), 'field')} to put right, marked ✖"
        if self.error is not None:
            return self.error.message
        return (self.doing or PLANNING) if self.preview is None else ""

    def state(self, busy: str) -> Line:
        """One line: why nothing can be launched, or what would be. `busy`: of the desk."""
        objection = busy or self.objection
        if objection or self.preview is None:
            waiting = bool(busy) or self.waits or not (self.error or self.wrong)
            glyph, tone = ("◌", "busy") if waiting else ("✖", "bad")
            return line(Span(f" {glyph} {objection}", tone))
        critical = launchwords.objections(self.report)
        request = self.preview.request
        nodes = count_of(request.min_nodes, "node")
        if request.min_nodes != request.max_nodes:
            nodes = f"{request.min_nodes} to {request.max_nodes} nodes"
        ready = f"^j starts {request.name} on {nodes} of {request.cluster.name}"
        if critical:
            return line(Span(f" ▲ {count_of(len(critical), 'objection')}; ", "warn"), ready)
        if self.asking:
            return line(Span(f" ◌ {self.asking} ", "busy"), ready)
        return line(Span(" ✔ ", "ok"), ready)

    def lines(self, known: Sequence[Candidate], mono: float) -> list[Line]:
        """The plan with its checks, or why there is none."""
        rows = list(self.notes)
        if self.preview is not None:
            found = self.reports.get(self.about)
            if found is not None:
                checks = launchwords.check_lines(found[1], mono - found[0])
            else:
                checks = [line(Span("checks ", "title"), Span(self.asking or "^t asks", "dim"))]
            return rows + launchwords.plan_lines(self.preview, known, checks)
        if self.error is not None:
            return rows + launchwords.failure_lines(self.error)
        if self.waits:
            rows.append(line("Choose a job profile, or type what to run."))
            return [*rows, line(Span("Here stands then what would run on every node.", "dim"))]
        if self.checked is not None and self.checked.problems:
            return rows + _problem_lines(self.checked)
        return [*rows, line(Span(self.doing or PLANNING, "dim"))]


def _problem_lines(checked: Checked) -> list[Line]:
    rows = [line(Span("No plan while something is wrong:", "title"))]
    labels = {field.name: field.label.strip() for field in FIELDS}
    for name, trouble in checked.problems.items():
        where = f"{labels[name]}: " if name else ""
        rows.append(line(Span(f"✖ {where}{trouble.message}", "bad")))
        if trouble.hint:
            rows.append(line(Span(f"    {trouble.hint}", "dim")))
    return rows
