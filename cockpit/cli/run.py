"""`cockpit run`: launch a job from the command line and follow it to its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from cockpit.cli.common import (
    load_config,
    narrate,
    on_signals,
    print_json,
    run_async,
    silent,
)
from cockpit.cli.contact import contact_option
from cockpit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cockpit.controller import Controller
    from cockpit.launchers.plan import Request
    from cockpit.packaging import Package
    from cockpit.profiles import Config

    Say = Callable[[str], None]


def _nodes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    if value is None:
        return None
    return int(value) if value.isdecimal() else value


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="The exit code is the job's own: the first failing rank's code, 128 + n for signal n, "
    "130 when cancelled; see docs/exit-codes.md for cockpit's.",
)
@click.option("-c", "--cluster", metavar="NAME", help="Cluster profile (default: local).")
@click.option("-l", "--launcher", metavar="NAME", help="Launcher profile (default: torchrun).")
@click.option("-j", "--job", metavar="NAME", help="Job profile to start from.")
@click.option("--nodes", metavar="N|MIN:MAX", callback=_nodes, help="Nodes; a range is elastic.")
@click.option(
    "--nproc-per-node", metavar="N|auto|gpu|cpu", callback=_nodes, help="Ranks on each node."
)
@click.option("--on", metavar="NODE,…", default="", help="Only these nodes: gpu[01-04],gpu09.")
@click.option("--without", metavar="NODE,…", default="", help="Not these nodes.")
@click.option("--spares", is_flag=True, help="The cluster's spares may take part, after its nodes.")
@click.option("--name", metavar="TEXT", help="Name of the job (default: the script's).")
@click.option("-e", "--env", metavar="K=V", multiple=True, help="Environment; K takes ours.")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read K=V lines.",
)
@click.option(
    "--working-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that travels and in which ranks start (default: this one).",
)
@click.option("--max-restarts", type=click.IntRange(0), metavar="N", help="Restarts on failure.")
@click.option("--no-sync", is_flag=True, help="The nodes see the working directory themselves.")
@click.option(
    "--no-preflight",
    is_flag=True,
    help="Start in spite of what `doctor` would say. Still looked at: Python, its packages and, for"
    " torch's rendezvous, clocks.",
)
@click.option("-d", "--detach", is_flag=True, help="Print the job id once all nodes started.")
@click.option("--dry-run", is_flag=True, help="Print what every node would run; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines instead of prefixed text.")
@click.option("-q", "--quiet", is_flag=True, help="No narration on stderr.")
@contact_option
@click.option("-m", "--module", "as_module", is_flag=True, help="SCRIPT is a module: python -m.")
@click.option("--no-python", "as_command", is_flag=True, help="SCRIPT is a command, run as it is.")
@click.option(
    "--script", "as_script", is_flag=True, help="With -j: SCRIPT replaces what the profile runs."
)
@click.argument("script", required=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(ctx: click.Context, /, **options: Any) -> None:
    """Run SCRIPT with ARGS on the nodes of a cluster; lines appear as ranks write them.

    Without any configuration: on this machine, one rank per GPU, or one.

    \b
      cockpit run train.py --epochs 3
      cockpit run -c lab --nodes 2 --nproc-per-node 8 -- train.py --lr 1e-3
      cockpit run -j llama --detach
    """
    config = load_config(ctx)
    request, given = _request(config, options)
    sync = request.cluster.sync and not options["no_sync"]
    say = silent if options["quiet"] else narrate
    package = _pack(request, say) if sync else None
    if options["dry_run"]:
        _dry_run(request, package, options["as_json"])
        return
    code = run_async(_launch(config, request, given, package, options, say))
    ctx.exit(code)


def _request(config: Config, options: dict[str, Any]) -> tuple[Request, dict[str, str]]:
    """The request that the options ask for, and secret values that were typed."""
    from cockpit import profiles

    kinds = [kind for kind in ("script", "module", "command") if options[f"as_{kind}"]]
    if len(kinds) > 1:
        raise UsageError("--script, -m and --no-python exclude each other")
    typed: dict[str, str] = {}
    if options["env_file"] is not None:
        typed.update(profiles.read_env_file(options["env_file"]))
    typed.update(profiles.parse_env(options["env"], os.environ))
    asked = profiles.Asked(
        job=options["job"],
        cluster=options["cluster"],
        launcher=options["launcher"],
        nodes=options["nodes"],
        nproc_per_node=options["nproc_per_node"],
        kind=cast("Any", kinds[0]) if kinds else None,
        target=options["script"],
        args=options["args"],
        env=typed,
        name=options["name"],
        working_dir=str(options["working_dir"]) if options["working_dir"] else None,
        max_restarts=options["max_restarts"],
        on=profiles.node_names(options["on"]),
        without=profiles.node_names(options["without"]),
        spares=options["spares"],
        preflight=not options["no_preflight"],
    )
    return profiles.ask(config, asked)


def _pack(request: Request, say: Say) -> Package:
    from cockpit import packaging

    return packaging.pack(Path(request.working_dir), warn=say)


def _dry_run(request: Request, package: Package | None, as_json: bool) -> None:
    from cockpit.launchers.preview import preview_document, preview_text
    from cockpit.launchers.registry import plan

    made = plan(request)
    if as_json:
        print_json(preview_document(request, made, package))
    else:
        click.echo(preview_text(request, made, package))


class _Starting:
    """The start of a job, which Ctrl-C gives up from its first moment to its last."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._task = asyncio.current_task()
        self._launch: asyncio.Future[object] | None = None
        self.given_up = False

    async def finish(self, launch: Coroutine[Any, Any, object]) -> None:
        """Wait for `launch`, or until it was given up. Raises what it raises."""
        self._launch = asyncio.ensure_future(launch)
        if self.given_up:
            self._launch.cancel()
        await asyncio.wait({self._launch})
        if not self._launch.cancelled():
            self._launch.result()

    def interrupt(self) -> None:
        if self._launch is not None and self._launch.done():
            # There is nothing to give up any more: leave, whatever is being done.
            if self._task is not None:
                self._task.cancel()
            return
        self._say("giving the start up")
        self.given_up = True
        if self._launch is not None:
            self._launch.cancel()


async def _launch(
    config: Config,
    request: Request,
    given: dict[str, str],
    package: Package | None,
    options: dict[str, Any],
    say: Say,
) -> int:
    starting = _Starting(say)
    # Before the modules are loaded: that takes long enough for somebody to press Ctrl-C.
    with on_signals(starting.interrupt, signal.SIGINT, signal.SIGTERM):
        from cockpit.cli.follow import Follower
        from cockpit.cli.printer import Printer, use_utf8
        from cockpit.controller import Controller

        use_utf8()
        async with Controller(config) as controller:
            job = controller.new_job_id()
            await starting.finish(
                controller.launch(
                    request,
                    archive=package,
                    files=package.files if package is not None else 0,
                    given_secrets=given,
                    say=say,
                    job_id=job,
                )
            )
            if starting.given_up:
                return await _stopped(controller, job, say)
            say(f"job {job} ({request.name}) started")
            if options["detach"]:
                if len(controller.job(job).nodes) < request.max_nodes:
                    say("a detached launch takes in no node that comes later")
                if options["as_json"]:
                    print_json({"schema": 1, "id": job, "name": request.name})
                else:
                    click.echo(job)
                return 0
            follower = Follower(
                controller,
                job,
                Printer(as_json=options["as_json"]),
                say,
                cancel_on_interrupt=True,
                contact_timeout=options["contact_timeout"],
            )
            return await follower.follow()


async def _stopped(controller: Controller, job: str, say: Say) -> int:
    """Ctrl-C during the launch: end what runs already, and say what became of it."""
    from cockpit.errors import ExitCode, JobNotFound

    try:
        report = await controller.cancel(job, reason="Ctrl-C", say=say)
    except JobNotFound:
        say("the start was given up; nothing runs")
        return int(ExitCode.CANCELLED)
    say(f"job {job}: {report.proof}")
    if report.proven:
        return int(ExitCode.CANCELLED)
    say(f"`cockpit cancel {job}` tries again")
    return int(ExitCode.CONTACT_LOST)
