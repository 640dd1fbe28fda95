"""`cockpit doctor`: are the nodes sound, alike, and in reach of each other?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cockpit.cli.common import narrate, print_json, with_controller
from cockpit.cli.jobs import cluster_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cockpit.controller import Controller
    from cockpit.model.doctor import Deep, Finding, Patient, Report

_COLOURS = {"ok": "green", "warn": "yellow", "crit": "red", "unknown": "magenta"}


@click.command(
    epilog="Exit codes: 0 all is well, 1 a warning, 2 something critical, 3 something could not be "
    "found out.",
)
@cluster_option
@click.option("--node", metavar="NAME", multiple=True, help="Only this node (repeatable).")
@click.option("--deep", is_flag=True, help="Also run a real all-reduce over all nodes.")
@click.option(
    "--deep-timeout",
    type=click.FloatRange(min=1.0),
    default=180.0,
    show_default=True,
    metavar="S",
    help="Seconds for one all-reduce, the import of torch included.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also what is well.")
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    cluster: tuple[str, ...],
    node: tuple[str, ...],
    deep: bool,
    deep_timeout: float,
    verbose: bool,
    as_json: bool,
) -> None:
    """Check every node by itself and against the others: one line per finding, with a hint.

    With --deep a real all-reduce runs over all nodes, and if it fails over fewer and fewer of
    them, to name the one that is to blame.
    """

    async def work(controller: Controller) -> int:
        from cockpit.cli.printer import use_utf8
        from cockpit.model.doctor import document, verdict

        use_utf8()
        report = await controller.doctor(cluster or None, node)
        runs: list[Deep] = []
        if not as_json:
            _show(report, verbose)
        if deep:
            runs = await controller.doctor_deep(report, say=narrate, limit=deep_timeout)
            if not as_json:
                _show_deep(runs, verbose)
        found = [*report.findings, *(item for run in runs for item in run.findings)]
        if as_json:
            print_json(document(found, runs if deep else None))
        return verdict(found).exit_code

    ctx.exit(with_controller(ctx, work))


def _show(report: Report, verbose: bool) -> None:
    from cockpit.model.doctor import verdict

    several = len({patient.cluster for patient in report.patients}) > 1
    for patient in report.patients:
        found = report.of(patient)
        name = f"{patient.cluster}/{patient.node}" if several else patient.node
        _line(name, verdict(found).value, _summary(patient))
        _lines(found, verbose)


def _show_deep(runs: Sequence[Deep], verbose: bool) -> None:
    for run in runs:
        if run.results:
            ranks = run.results[0].world
            click.echo(f"all-reduce over {len(run.nodes)} nodes, {ranks} ranks, {run.backend}")
            click.echo(f"{'size':>12}  {'time':>10}  {'algorithm':>11}  {'bus':>11}")
            for result in run.results:
                click.echo(
                    f"{result.size / 2**20:>9.0f} MiB  {result.seconds * 1000:>7.2f} ms"
                    f"  {result.algorithm / 1e9:>6.2f} GB/s  {result.bus / 1e9:>6.2f} GB/s"
                )
        for item in run.findings:
            if verbose or item.level.value != "ok":
                _line(item.node, item.level.value, f"{item.check}: {item.message}", item.hint)


def _lines(found: Sequence[Finding], verbose: bool) -> None:
    for item in found:
        if verbose or item.level.value != "ok":
            _line("", item.level.value, f"{item.check}: {item.message}", item.hint)


def _line(name: str, level: str, text: str, hint: str = "") -> None:
    word = click.style(f"{level.upper():<7}", fg=_COLOURS[level], bold=bool(name))
    indent = "" if name else "  "
    click.echo(f"{indent}{name + '  ' if name else ''}{word}  {text}")
    if hint:
        click.echo(f"{indent}         hint: {hint}")


def _summary(patient: Patient) -> str:
    if patient.versions is None:
        return "not looked at"
    trip = f", {patient.rtt * 1000:.1f} ms away" if patient.rtt is not None else ""
    return patient.versions.summary + trip
