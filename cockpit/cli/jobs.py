"""`cockpit ps`, `status`, `cancel`, `restart`: jobs that exist, whoever started them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from cockpit.cli.common import narrate, print_json, with_controller
from cockpit.cli.contact import contact_option
from cockpit.errors import ExitCode, JobNotFound
from cockpit.text import after_name

if TYPE_CHECKING:
    from cockpit.controller import Controller
    from cockpit.model.types import Job

ASK_TIMEOUT = 20.0
SAMPLE_TIMEOUT = 5.0


def cluster_option(command: Any) -> Any:
    return click.option(
        "-c", "--cluster", metavar="NAME", multiple=True, help="Only this cluster (repeatable)."
    )(command)


def json_option(command: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document.")(command)


async def find_job(controller: Controller, clusters: tuple[str, ...], reference: str) -> Job:
    """Open the clusters and resolve a job reference."""
    home = controller.home_of(reference) if not clusters else None
    if home is not None:
        controller.open([home])
        try:
            return await controller.find(reference, ASK_TIMEOUT, narrate)
        except JobNotFound:
            narrate(f"cluster {home} does not know it; asking all")
    controller.open(clusters or None)
    return await controller.find(reference, ASK_TIMEOUT, narrate)


@click.command()
@cluster_option
@json_option
@click.option("-a", "--all", "everything", is_flag=True, help="Ended jobs too.")
@click.pass_context
def ps(ctx: click.Context, cluster: tuple[str, ...], as_json: bool, everything: bool) -> None:
    """List jobs on all configured clusters, newest first."""
    from cockpit.cli.jobtables import ps_table
    from cockpit.model import documents

    async def work(controller: Controller) -> int:
        controller.open(cluster or None)
        failed = await controller.settle(ASK_TIMEOUT)
        await controller.loaded(ASK_TIMEOUT)
        jobs = [j for j in controller.snapshot().jobs if everything or not j.state.ended]
        past = [seen.job for seen in controller.remembered()] if everything and not cluster else []
        if past:
            jobs = sorted([*jobs, *past], key=lambda job: -job.created_at)
            narrate(f"{len(past)} jobs are shown as last seen: no node that was asked has them")
        if as_json:
            print_json(documents.ps_document(jobs))
        else:
            click.echo(ps_table(jobs))
        for key, error in sorted(failed.items()):
            why = after_name(key.node, error.message)
            narrate(f"{key.cluster}/{key.node} was not asked: {why}")
        for problem in controller.problems():
            narrate(problem)
        return (
            int(ExitCode.UNAVAILABLE)
            if failed and len(failed) == len(controller.node_keys())
            else 0
        )

    ctx.exit(with_controller(ctx, work))


def _last_seen(controller: Controller, reference: str) -> Job:
    """A job as this machine remembers it. Raises JobNotFound."""
    from cockpit.cli.tables import moment_text
    from cockpit.model.find import find

    past = controller.remembered()
    found = find(reference, [seen.job for seen in past])
    at = next(seen.seen_at for seen in past if seen.job is found)
    narrate(f"as last seen at {moment_text(at)}: no node that was asked knows it now")
    return found


@click.command()
@cluster_option
@json_option
@click.argument("job")
@click.pass_context
def status(ctx: click.Context, cluster: tuple[str, ...], as_json: bool, job: str) -> None:
    """Show JOB: its state, what failed first and why, its nodes and ranks, its history.

    JOB is an id, the beginning of one, or a name (the newest of that name).
    """
    from cockpit.cli.statustext import status_text
    from cockpit.model import documents

    async def work(controller: Controller) -> None:
        try:
            found = await find_job(controller, cluster, job)
        except JobNotFound as error:
            try:
                found = _last_seen(controller, job)
            except JobNotFound:
                raise error from None
        if as_json:
            await controller.sampled(SAMPLE_TIMEOUT)
            fleet = controller.snapshot()
            print_json(documents.status_document(found, fleet.nodes, time.monotonic()))
        else:
            click.echo(status_text(found))

    with_controller(ctx, work, telemetry=as_json)


@click.command()
@cluster_option
@json_option
@click.option(
    "--grace",
    type=click.FloatRange(min=0.0),
    metavar="S",
    help="Seconds between SIGTERM and SIGKILL (default: the launcher profile's).",
)
@click.argument("job")
@click.pass_context
def cancel(
    ctx: click.Context, cluster: tuple[str, ...], as_json: bool, grace: float | None, job: str
) -> None:
    """End JOB on all its nodes: one SIGTERM, grace, SIGKILL, then the proof that nothing is left.

    Exit code 0: proven. 75: a node could not be asked. 1: something is left; it is named.
    """

    from cockpit.model import documents

    async def work(controller: Controller) -> int:
        found = await find_job(controller, cluster, job)
        report = await controller.cancel(
            found.id, grace=grace, reason="cockpit cancel", say=narrate
        )
        if as_json:
            print_json(documents.cancel_document(found, report))
        else:
            click.echo(f"{found.name} ({found.id}): {report.proof}")
        if report.proven:
            return 0
        left = any(node.left for node in report.nodes)
        return int(ExitCode.FAILED if left else ExitCode.CONTACT_LOST)

    ctx.exit(with_controller(ctx, work))


def _restart_ranks(
    cluster: tuple[str, ...], reference: str
) -> Callable[[Controller], Awaitable[int]]:
    async def work(controller: Controller) -> int:
        found = await find_job(controller, cluster, reference)
        generation = await controller.restart_ranks(
            found.id, reason="cockpit restart --ranks", say=narrate
        )
        narrate(f"generation {generation} of {found.name} runs")
        click.echo(found.id)
        return 0

    return work


@click.command()
@cluster_option
@click.option("-d", "--detach", is_flag=True, help="Return once all nodes started.")
@click.option("-e", "--env", metavar="K=V", multiple=True, help="Value of a secret of the job.")
@click.option(
    "--ranks",
    is_flag=True,
    help="Only the ranks, in place: a new generation of the running attempt.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="NODE[,NODE]",
    help="Nodes of the last attempt that take no part in the next.",
)
@click.option(
    "--spares",
    is_flag=True,
    help="Spares of the cluster take the place of nodes that are left out or cannot be reached.",
)
@click.option(
    "--checkpoint",
    is_flag=True,
    help="Ask the ranks for a checkpoint first; without it nothing is ended.",
)
@click.option(
    "--checkpoint-timeout",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="S",
    help="Seconds to wait for the checkpoint (default: 600).",
)
@click.option("--no-preflight", is_flag=True, help="Start in spite of what `doctor` would say.")
@contact_option
@click.argument("job")
@click.pass_context
def restart(
    ctx: click.Context,
    cluster: tuple[str, ...],
    detach: bool,
    env: tuple[str, ...],
    ranks: bool,
    without: tuple[str, ...],
    spares: bool,
    checkpoint: bool,
    checkpoint_timeout: float | None,
    no_preflight: bool,
    contact_timeout: float,
    job: str,
) -> None:
    """Start a new attempt of JOB from the same code and plan; a running attempt is ended first.

    It runs on the same nodes unless --without or --spares say otherwise; a job with a range of
    nodes may run on fewer. Processes of the old attempt on a node that is left out and cannot be
    reached are named, and ended when it is back.

    With --checkpoint every rank whose code calls `cockpit.checkpoint_wanted` saves at one step
    first; where that does not come in time, the job runs on untouched.

    With --ranks the attempt, its launcher processes and its code stay, none of `max_restarts` is
    spent, and the command returns once the new generation has formed.
    """
    import os

    if ranks:
        if env:
            raise click.UsageError("--env goes with a new attempt: ranks keep their environment.")
        if without or spares or checkpoint:
            raise click.UsageError(
                "--without, --spares and --checkpoint go with a new attempt, not with --ranks."
            )
        ctx.exit(with_controller(ctx, _restart_ranks(cluster, job)))

    from cockpit.cli.follow import Follower
    from cockpit.cli.printer import Printer, use_utf8
    from cockpit.model.reports import RestartOptions
    from cockpit.profiles import parse_env

    given = parse_env(env, os.environ)
    if checkpoint_timeout is not None and not checkpoint:
        raise click.UsageError("--checkpoint-timeout goes with --checkpoint.")
    left_out = [name.strip() for words in without for name in words.split(",")]
    options = RestartOptions(
        without=tuple(dict.fromkeys(name for name in left_out if name)),
        spares=spares,
        checkpoint=checkpoint,
        checkpoint_timeout=checkpoint_timeout or RestartOptions().checkpoint_timeout,
    )

    async def work(controller: Controller) -> int:
        use_utf8()
        found = await find_job(controller, cluster, job)
        report = await controller.restart(
            found.id,
            options=options,
            given_secrets=given,
            preflight=not no_preflight,
            say=narrate,
        )
        attempt = report.attempt
        narrate(f"attempt {attempt} of {found.name} runs on {', '.join(report.nodes)}")
        if detach:
            click.echo(found.id)
            return 0
        follower = Follower(
            controller,
            found.id,
            Printer(as_json=False),
            narrate,
            cancel_on_interrupt=True,
            contact_timeout=contact_timeout,
            first_attempt=attempt,
        )
        return await follower.follow()

    ctx.exit(with_controller(ctx, work))
