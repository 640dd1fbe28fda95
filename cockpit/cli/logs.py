"""`cockpit logs` and `attach`: a job's lines from the first byte, from any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cockpit.cli.common import narrate, with_controller
from cockpit.cli.contact import ContactWatch, contact_option
from cockpit.cli.jobs import cluster_option, find_job
from cockpit.errors import ExitCode

if TYPE_CHECKING:
    from cockpit.controller import Controller


@click.command()
@cluster_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@click.option("--rank", type=click.IntRange(0), metavar="R", multiple=True, help="Only rank R.")
@click.option("--node", metavar="NAME", multiple=True, help="Only this node.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@contact_option
@click.argument("job")
@click.pass_context
def logs(
    ctx: click.Context,
    cluster: tuple[str, ...],
    follow: bool,
    tail: int | None,
    rank: tuple[int, ...],
    node: tuple[str, ...],
    as_json: bool,
    contact_timeout: float,
    job: str,
) -> None:
    """Print the log lines of all ranks of JOB, merged by time."""
    import asyncio
    import collections

    from cockpit.cli.printer import Printer, use_utf8
    from cockpit.model.merged import LogLine

    async def work(controller: Controller) -> int:
        use_utf8()
        found = await find_job(controller, cluster, job)
        printer = Printer(as_json=as_json)
        log = controller.log(found.id, from_start=True)

        def wanted(lines: list[LogLine]) -> list[LogLine]:
            return [
                line
                for line in lines
                if (not rank or line.rank in rank) and (not node or line.node in node)
            ]

        last: collections.deque[LogLine] = collections.deque(maxlen=tail)
        sink = last.extend if tail is not None else printer.lines
        missing = await log.complete(timeout=300.0, each=lambda: sink(wanted(log.poll())))
        if not follow or found.state.ended:
            for batch in log.drain():
                sink(wanted(batch))
        printer.lines(last)
        watch = ContactWatch(narrate, contact_timeout)
        while follow and not (seen := controller.job(found.id)).state.ended:
            watch.check(seen)
            printer.lines(wanted(log.poll()))
            await asyncio.sleep(0.05)
        if follow:
            missing = await log.complete(
                timeout=60.0, each=lambda: printer.lines(wanted(log.poll()))
            )
            for batch in log.drain():
                printer.lines(wanted(batch))
        for what in missing:
            narrate(f"not printed: {what}")
        for place in controller.job(found.id).nodes:
            for note in place.notes:
                narrate(f"{place.name}: {note}")
        return int(ExitCode.CONTACT_LOST) if missing else 0

    ctx.exit(with_controller(ctx, work))


@click.command()
@cluster_option
@click.option("--json", "as_json", is_flag=True, help="JSON lines instead of prefixed text.")
@contact_option
@click.argument("job")
@click.pass_context
def attach(
    ctx: click.Context, cluster: tuple[str, ...], as_json: bool, contact_timeout: float, job: str
) -> None:
    """Follow JOB from its first byte until it ends, and give its exit code.

    Ctrl-C leaves; the job goes on. `cockpit cancel JOB` ends it.
    """
    from cockpit.cli.follow import Follower
    from cockpit.cli.printer import Printer, use_utf8

    async def work(controller: Controller) -> int:
        use_utf8()
        found = await find_job(controller, cluster, job)
        follower = Follower(
            controller,
            found.id,
            Printer(as_json=as_json),
            narrate,
            cancel_on_interrupt=False,
            contact_timeout=contact_timeout,
        )
        return await follower.follow()

    ctx.exit(with_controller(ctx, work))
