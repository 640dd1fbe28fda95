"""`cockpit nodes`, `exec`, `clean`: the machines themselves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cockpit.cli.common import narrate, with_controller
from cockpit.cli.jobs import ASK_TIMEOUT, SAMPLE_TIMEOUT, cluster_option
from cockpit.errors import CockpitError, ExitCode
from cockpit.text import MAX_LINE, after_name, clean_line

WATCH_PERIOD = 2.0
PIECE = MAX_LINE * 4
"""Bytes after which a line of a command that has not ended yet is shown."""

if TYPE_CHECKING:
    from cockpit.controller import Controller


@click.command()
@cluster_option
@click.option("--node", metavar="NAME", multiple=True, help="Only this node (repeatable).")
@click.option(
    "-w",
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=WATCH_PERIOD,
    metavar="[S]",
    help=f"Again every S seconds (default {WATCH_PERIOD:g}), in place on a terminal.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document; with --watch, one a line."
)
@click.pass_context
def nodes(
    ctx: click.Context,
    cluster: tuple[str, ...],
    node: tuple[str, ...],
    watch: float | None,
    as_json: bool,
) -> None:
    """Show every node: link, health, load, memory, and its GPUs with who uses them."""

    async def work(controller: Controller) -> int:
        from cockpit.cli.nodes_view import NodesView

        controller.open(cluster or None, node or None)
        view = NodesView(controller, as_json=as_json)
        if watch is not None:
            await view.watch(watch)
            return 0
        failed = await controller.settle(ASK_TIMEOUT)
        await controller.loaded(ASK_TIMEOUT)
        await controller.sampled(SAMPLE_TIMEOUT)
        view.show()
        for key, error in sorted(failed.items()):
            narrate(f"{key.cluster}/{key.node}: {error.message}")
            if error.hint:
                narrate(f"  hint: {error.hint}")
        return int(ExitCode.UNAVAILABLE) if failed else 0

    ctx.exit(with_controller(ctx, work, telemetry=True))


class LineOutput:
    """What a command writes, as lines; a line that does not end comes out in pieces."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self._rest = bytearray()
        self._went_on = False
        """A piece of the present line was shown."""

    def feed(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._add(first)
        for piece in others:
            self._end_line()
            self._add(piece)

    def close(self) -> None:
        """Show a last line without newline."""
        if self._rest:
            self._end_line()

    def _add(self, piece: bytes) -> None:
        self._rest += piece
        while len(self._rest) >= PIECE:
            self._show(bytes(self._rest[:PIECE]))
            del self._rest[:PIECE]
            self._went_on = True

    def _end_line(self) -> None:
        if self._rest or not self._went_on:
            self._show(bytes(self._rest))
        self._rest.clear()
        self._went_on = False


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

    refused: list[OSError] = []

    def shower(name: str, *, err: bool) -> Callable[[bytes], None]:
        def show(line: bytes) -> None:
            if refused:
                return
            try:
                click.echo(f"{name} │ {clean_line(line, PIECE)}", err=err)
            except OSError as error:
                refused.append(error)  # told below, not inside somebody's callback

        return show

    async def one(controller: Controller, name: str) -> int:
        outputs = {
            "out": LineOutput(shower(name, err=False)),
            "err": LineOutput(shower(name, err=True)),
        }
        try:
            result = await controller.execute(
                cluster, name, argv, lambda stream, data: outputs[stream].feed(data),
                timeout=timeout,
            )  # fmt: skip
        except CockpitError as error:
            narrate(f"{name}: {after_name(name, error.message)}")
            return int(ExitCode.UNAVAILABLE)
        finally:
            for output in outputs.values():
                output.close()
        if refused:
            raise refused[0]
        code = 128 + result.signal if result.signal else result.code or 0
        if result.timed_out:
            narrate(f"{name}: killed after the time-out of {timeout:g} s")
        elif code:
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
    """Remove ended jobs (their logs and copies) from the nodes.

    With JOB: those jobs. Without: all ended jobs but the newest, and code that no job needs.
    """
    from cockpit.cli.tables import bytes_text

    async def remove(controller: Controller) -> tuple[int, list[CockpitError]]:
        """Show what will go, ask, and remove it: bytes freed, and what was refused."""
        if job:
            chosen = [await controller.find(reference) for reference in job]
            question = f"Remove {len(chosen)} jobs from their nodes?"
        else:
            chosen = [j for j in controller.snapshot().jobs if j.state.ended][keep:]
            question = (
                f"Remove all but the newest {keep} ended jobs, and code that no job needs, from"
                f" {len(controller.node_keys())} nodes?"
            )
        for found in chosen:
            click.echo(f"{found.id}  {found.name}  {found.state.value}")
        if not yes:
            await confirm(question)
        if not job:
            return await controller.clean_code(keep)
        freed, errors = 0, []
        for found in chosen:
            amount, refused = await controller.clean(found.id)
            freed += amount
            errors += refused
        return freed, errors

    async def work(controller: Controller) -> int:
        controller.open(cluster or None)
        failed = await controller.settle(ASK_TIMEOUT)
        await controller.loaded(ASK_TIMEOUT)
        freed, errors = await remove(controller)
        for error in errors:
            narrate(error.message)
        for key, error in sorted(failed.items()):
            why = after_name(key.node, error.message)
            narrate(f"{key.cluster}/{key.node} was not cleaned: {why}")
        narrate(f"freed {bytes_text(freed)}")
        return int(ExitCode.FAILED) if errors or failed else 0

    ctx.exit(with_controller(ctx, work))


async def confirm(question: str) -> None:
    """Ask on the terminal while the links live on. Raises click.Abort for anything but a yes."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bool] = loop.create_future()

    def settle(yes: bool) -> None:
        if not answer.done():
            answer.set_result(yes)

    def ask() -> None:
        try:
            yes = click.confirm(question, err=True)
        except click.Abort:
            yes = False
        # The loop is gone when the person left with Ctrl-C.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, yes)

    # Not the loop's executor: leaving with Ctrl-C would wait there for the answer.
    threading.Thread(target=ask, name="question", daemon=True).start()
    if not await answer:
        raise click.Abort


def __getattr__(name: str) -> Any:
    # The command is called `exec`; the name is taken in Python.
    if name == "exec":
        return exec_command
    raise AttributeError(name)
