"""`cockpit stacks`: where every rank of a job is, ranks with equal stacks together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cockpit.cli.common import print_json, with_controller
from cockpit.cli.jobs import cluster_option, find_job, json_option
from cockpit.errors import ExitCode

if TYPE_CHECKING:
    from cockpit.controller import Controller
    from cockpit.model.stacks import Stack, StackReport

_WIDTH = 60
"""Columns for the places of a stack; longer ones push their function to the right."""


@click.command()
@cluster_option
@json_option
@click.option("--all-threads", is_flag=True, help="Threads beside the main ones, too.")
@click.option("--last", is_flag=True, help="The stacks kept at the newest stall, not those of now.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=60.0),
    metavar="S",
    help="Seconds that the nodes have to answer (default: 2).",
)
@click.argument("job")
@click.pass_context
def stacks(
    ctx: click.Context,
    cluster: tuple[str, ...],
    as_json: bool,
    all_threads: bool,
    last: bool,
    timeout: float | None,
    job: str,
) -> None:
    """Show where every rank of JOB is: Python stacks, equal ones together, the odd one first.

    Works while a rank hangs in C code or holds the GIL, and disturbs no rank. Innermost frames
    come first; > marks your own code. Exit code 69: no node could be asked.
    """
    from cockpit.cli.printer import use_utf8
    from cockpit.model.stacks import document

    options = {} if timeout is None else {"timeout": timeout}

    async def work(controller: Controller) -> int:
        use_utf8()
        found = await find_job(controller, cluster, job)
        look = controller.kept_stacks if last else controller.stacks
        report = await look(found.id, **options)
        if as_json:
            print_json(document(report, all_threads=all_threads))
        else:
            click.echo("\n".join(lines(report, all_threads=all_threads)))
        return 0 if report.asked else int(ExitCode.UNAVAILABLE)

    ctx.exit(with_controller(ctx, work))


def lines(report: StackReport, *, all_threads: bool) -> Iterator[str]:
    """The report as text: the summary, then each group of ranks with its stack."""
    from cockpit.cli.tables import moment_text

    yield report.summary
    yield f"taken at {moment_text(report.taken_at)}"
    for group in report.groups:
        yield ""
        aside = f"{group.aside}: " if group.aside else ""
        yield f"{group.listed}: {aside}{group.words.long}"
        yield from _stack(group.stack)
    for other in report.others if all_threads else ():
        yield ""
        yield f"{other.summary}:"
        yield from _stack(other.stack)
    if report.missing:
        yield ""
        yield "no stacks:"
        yield from (f"  {item.name}: {item.error}" for item in report.missing)


def _stack(stack: Stack) -> Iterator[str]:
    """One line a frame, innermost first; a frame that calls itself is shown once, with a count."""
    from cockpit.model.stackwords import Owner, locate

    if not stack:
        yield "    no Python code"
    runs = [list(group) for _, group in itertools.groupby(stack)]
    places = [f"{locate(run[0].file)[1]}:{run[0].line or '?'}" for run in runs]
    width = min(max(map(len, places), default=0), _WIDTH)
    for run, place in zip(runs, places, strict=True):
        mark = ">" if locate(run[0].file)[0] is Owner.USER else " "
        again = f" (× {len(run)})" if len(run) > 1 else ""
        yield f"  {mark} {place:<{width}}  {run[0].function}{again}"
