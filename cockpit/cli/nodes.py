"""`cockpit nodes`, `exec`, `clean`: the machines themselves."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import click

from cockpit.cli.common import narrate, print_json, with_controller
from cockpit.cli.jobs import ASK_TIMEOUT, SAMPLE_TIMEOUT, cluster_option, json_option
from cockpit.errors import CockpitError, ExitCode

if TYPE_CHECKING:
    from cockpit.controller import Controller


@click.command()
@cluster_option
@json_option
@click.pass_context
def nodes(ctx: click.Context, cluster: tuple[str, ...], as_json: bool) -> None:
    """Show every node: link, load, memory, and its GPUs with who uses them."""
    from cockpit.cli.tables import nodes_table
    from cockpit.model import documents

    async def work(controller: Controller) -> int:
        controller.open(cluster or None)
        failed = await controller.settle(ASK_TIMEOUT)
        await controller.sampled(SAMPLE_TIMEOUT)
        fleet = controller.snapshot()
        now = time.monotonic()
        if as_json:
            print_json(documents.nodes_document(fleet.nodes, now))
        else:
            click.echo(nodes_table(fleet.nodes, now))
        for key, error in sorted(failed.items()):
            narrate(f"{key.cluster}/{key.node}: {error.message}")
            if error.hint:
                narrate(f"  hint: {error.hint}")
        return int(ExitCode.UNAVAILABLE) if failed else 0

    ctx.exit(with_controller(ctx, work, telemetry=True))


@click.command(
    "exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False}
)
@click.option("-c", "--cluster", metavar="NAME", required=True, help="On this cluster.")
@click.option("--node", metavar="NAME", multiple=True, help="Only on this node (repeatable).")
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="S", help="Kill after S.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_command(
    ctx: click.Context,
    cluster: str,
    node: tuple[str, ...],
    timeout: float | None,
    argv: tuple[str, ...],
) -> None:
    """Run ARGV on every node of a cluster at once; lines carry their node's name.

    No shell is involved; use `-- sh -c '…'` for one. The exit code is the highest of all nodes'.
    """
    from cockpit.text import clean_line

    async def one(controller: Controller, name: str) -> int:
        partial = {"out": b"", "err": b""}

        def output(stream: str, data: bytes) -> None:
            *whole, partial[stream] = (partial[stream] + data).split(b"\n")
            for line in whole:
                click.echo(f"{name} │ {clean_line(line)}", err=stream == "err")

        try:
            code = await controller.execute(cluster, name, argv, output, timeout=timeout)
        except CockpitError as error:
            narrate(f"{name}: {error.message}")
            return int(ExitCode.UNAVAILABLE)
        for stream in ("out", "err"):
            if partial[stream]:
                output(stream, b"\n")
        if code:
            narrate(f"{name}: ended with code {code}")
        return code

    async def work(controller: Controller) -> int:
        controller.open([cluster])
        names = [key.node for key in controller.node_keys() if not node or key.node in node]
        unknown = set(node) - set(names)
        if unknown:
            raise click.UsageError(f"{cluster} has no node {', '.join(sorted(unknown))}")
        return max(await asyncio.gather(*(one(controller, name) for name in names)), default=0)

    ctx.exit(with_controller(ctx, work))


@click.command()
@cluster_option
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Keep the newest N ended jobs.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.argument("job", nargs=-1)
@click.pass_context
def clean(
    ctx: click.Context, cluster: tuple[str, ...], keep: int, yes: bool, job: tuple[str, ...]
) -> None:
    """Remove ended jobs (their logs and copies) from the nodes: JOB…, or all but the newest."""
    from cockpit.cli.tables import bytes_text

    async def work(controller: Controller) -> int:
        controller.open(cluster or None)
        failed = await controller.settle(ASK_TIMEOUT)
        await controller.loaded(ASK_TIMEOUT)
        if job:
            chosen = [await controller.find(reference) for reference in job]
        else:
            chosen = [j for j in controller.snapshot().jobs if j.state.ended][keep:]
        if not chosen:
            narrate("there is nothing to remove")
            return 0
        for found in chosen:
            click.echo(f"{found.id}  {found.name}  {found.state.value}")
        if not yes:
            click.confirm(f"Remove {len(chosen)} jobs from their nodes?", abort=True, err=True)
        freed, refused = 0, 0
        for found in chosen:
            amount, errors = await controller.clean(found.id)
            freed += amount
            refused += len(errors)
            for error in errors:
                narrate(error.message)
        narrate(f"freed {bytes_text(freed)}")
        return int(ExitCode.FAILED) if refused or failed else 0

    ctx.exit(with_controller(ctx, work))


def __getattr__(name: str) -> Any:
    # The command is called `exec`; the name is taken in Python.
    if name == "exec":
        return exec_command
    raise AttributeError(name)
