"""The launch form in words: what is free, what would run, what speaks against it. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from cockpit.errors import CockpitError, StartError
from cockpit.model.choosing import Candidate, Standing
from cockpit.model.doctor import Finding, Level, Report
from cockpit.profiles.types import Config, JobProfile
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, join, line
from cockpit.tui.draw.words import LEVEL, size_of, span_of_time
from cockpit.tui.launch.drafts import kind_of
from cockpit.tui.launch.pad import Draft, Preview, Trouble

STANDING = {
    Standing.FREE: ("○", "ok"),
    Standing.UNKNOWN: ("?", "stale"),
    Standing.BUSY: ("●", "warn"),
    Standing.AWAY: ("✖", "bad"),
}
OLD = 15.0
"""Seconds after which checks are shown with their age."""
_GAP = Span(" · ", "dim")


def free_note(known: Sequence[Candidate]) -> Line:
    """ "2 free · 1 busy · 1 away of 4 nodes · 16/24 GPUs idle"."""
    counts = Counter(item.standing for item in known if not item.spare)
    parts: list[tuple[Span, ...]] = []
    for standing in Standing:
        if counts[standing] or standing is Standing.FREE:
            glyph, tone = STANDING[standing]
            parts.append((Span(f"{glyph} {counts[standing]} {standing.value}", tone),))
    total = count_of(sum(counts.values()), "node")
    parts[-1] = (*parts[-1], Span(f" of {total}", "dim"))
    gpus = sum(item.gpus or 0 for item in known if not item.spare)
    if gpus:
        idle = sum(item.idle or 0 for item in known if not item.spare)
        parts.append((Span(f"{idle}/{gpus} GPUs idle", "dim"),))
    spares = [item for item in known if item.spare]
    if spares:
        free = sum(item.standing is Standing.FREE for item in spares)
        parts.append((Span(f"{count_of(len(spares), 'spare')}, {free} free", "dim"),))
    return Line(join(parts, _GAP))


def heading(draft: Draft, again: str = "", *, kept: bool = False) -> str:
    """What the form is about now. `again`: the job that is to be had again; `kept`: it was opened
    with what had been typed before."""
    about = f"Launch {draft.job}" if draft.job else "Launch a new job"
    if again:
        about = f"Launch {again} again"
    return f"{about} · as you left it" if kept else about


def defaults(draft: Draft, config: Config) -> dict[str, str]:
    """What holds where nothing is typed, by the field: shown in the empty fields."""
    base = config.jobs.get(draft.job) or JobProfile(name="")
    launcher = config.launchers.get(draft.launcher or base.launcher)
    restarts = base.max_restarts
    if restarts is None and launcher is not None:
        restarts = launcher.max_restarts
    usual = base.script or base.module or shlex.join(base.command or ()) or "train.py"
    # Where something else shall be run than the profile does, its own is no default.
    same = draft.kind in ("", kind_of(config.jobs.get(draft.job)))
    behind = shlex.join(base.args)
    return {
        "nodes": str(base.nodes) if not draft.on.strip() else "all of them",
        "on": "any of the cluster; ^n picks",
        "without": "none; ^n picks",
        "nproc_per_node": str(base.nproc_per_node),
        "target": usual if same else "",
        "args": f"more, behind {behind}" if behind and not draft.target.strip() else "none",
        "env": "NAME=value, one on each line",
        "name": draft.job or "the script's",
        "working_dir": base.working_dir if draft.job else "the current folder",
        "max_restarts": "" if restarts is None else str(restarts),
    }


def trouble_line(trouble: Trouble) -> Line:
    hint = f" — {trouble.hint}" if trouble.hint else ""
    return line(Span(f"✖ {trouble.message}", "bad"), Span(hint, "dim"))


def chosen_lines(preview: Preview, known: Sequence[Candidate]) -> list[Line]:
    """The nodes that would take part, and how each of them is."""
    standing = {item.name: item for item in known}
    rows = []
    names = [spec.name for spec in preview.request.nodes[: preview.request.max_nodes]]
    free = [name for name in names if _standing(standing, name) is Standing.FREE]
    if free:
        rows.append(line(Span("○ free: ", "ok"), ", ".join(free)))
    for name in names:
        item = standing.get(name)
        if item is not None and item.standing is not Standing.FREE:
            glyph, tone = STANDING[item.standing]
            rows.append(line(Span(f"{glyph} {name}: {item.why}", tone)))
    return rows


def _standing(known: Mapping[str, Candidate], name: str) -> Standing:
    return known[name].standing if name in known else Standing.UNKNOWN


def code_line(preview: Preview) -> Line:
    if not preview.digest:
        return line(Span("code ", "title"), "the nodes see it themselves")
    size = size_of(preview.size)
    digest = Span(f" · {preview.digest[:12]}", "dim")
    return line(Span("code ", "title"), f"{preview.files} files · {size}", digest)


def command_text(preview: Preview) -> str:
    """The `cockpit run …` to copy."""
    return shlex.join(preview.command)


def plan_lines(preview: Preview, known: Sequence[Candidate], checks: Sequence[Line]) -> list[Line]:
    """All of the preview: the checks first, the plan of every node last."""
    rows = [*chosen_lines(preview, known), code_line(preview)]
    rows += [line(Span(f"▲ {warning}", "warn")) for warning in preview.warnings]
    rows += [*checks, line(Span("the same by command", "title"), Span(" (^g copies it)", "dim"))]
    rows += [line("  " + command_text(preview)), line(Span("plan", "title"))]
    return rows + plan_text_lines(preview)


def plan_text_lines(preview: Preview) -> list[Line]:
    """What `cockpit run --dry-run` prints."""
    return [
        line(Span(text, "strong" if text and not text.startswith(" ") else ""))
        for text in preview.text.split("\n")
    ]


def check_lines(report: Report, age: float = 0.0) -> list[Line]:
    """One row for all checks, then whatever is not well, worst first. `age`: seconds."""
    names: dict[str, list[Finding]] = {}
    for item in report.findings:
        names.setdefault(item.check, []).append(item)
    parts: list[tuple[Span, ...]] = []
    for check, found in names.items():
        worst = max((item.level for item in found), key=lambda level: level.gravity)
        nodes = len({(item.cluster, item.node) for item in found})
        well = nodes - len({item.node for item in found if item.level is not Level.OK})
        glyph, tone = LEVEL[worst]
        parts.append((Span(f"{glyph} {check} {well}/{nodes}", tone),))
    old = Span(f"{span_of_time(age)} ago ", "stale") if age >= OLD else Span("")
    rows = [Line((Span("checks ", "title"), old, *join(parts, _GAP)))]
    bad = [item for item in report.findings if item.level is not Level.OK]
    for item in sorted(bad, key=lambda item: -item.level.gravity):
        glyph, tone = LEVEL[item.level]
        rows.append(line(Span(f"{glyph} {item.node}: {item.message}", tone)))
        if item.hint:
            rows.append(line(Span(f"    {item.hint}", "dim")))
    return rows


def objections(report: Report | None) -> list[str]:
    """What preflight calls critical: a start needs a second yes."""
    if report is None:
        return []
    return [f"{item.node}: {item.message}" for item in report.findings if item.level is Level.CRIT]


def failure_lines(error: CockpitError) -> list[Line]:
    """Why a start failed, node by node, with what to do."""
    rows = [line(Span(f"✖ {error.message}", "bad"))]
    if isinstance(error, StartError):
        for name, reason in error.reasons.items():
            message = reason.message.removeprefix(f"{name}: ")
            rows.append(line(Span(f"  {name}  ", "strong"), message))
            if reason.hint:
                rows.append(line(Span(f"      {reason.hint}", "dim")))
    elif error.hint:
        rows.append(line(Span(f"  {error.hint}", "dim")))
    return rows
