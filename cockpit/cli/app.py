"""The command table, global options, and the one place where an error becomes an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from cockpit import __version__
from cockpit.errors import CockpitError, ConfigError, ExitCode, StartError

_COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("cockpit.cli.run", "Run a script on the nodes of a cluster and follow it."),
    "ps": ("cockpit.cli.jobs", "List jobs, whoever started them."),
    "status": ("cockpit.cli.jobs", "Show a job: state, first cause, nodes, ranks, history."),
    "logs": ("cockpit.cli.logs", "Print a job's log lines, merged by time."),
    "attach": ("cockpit.cli.logs", "Follow a job from its first byte, as `run` does."),
    "cancel": ("cockpit.cli.jobs", "End a job on all its nodes and prove it."),
    "restart": ("cockpit.cli.jobs", "Start a new attempt from the same code and plan."),
    "stacks": ("cockpit.cli.stacks", "Show where every rank of a job is: stacks, grouped."),
    "nodes": ("cockpit.cli.nodes", "Show nodes: link, load, GPUs and who uses them."),
    "exec": ("cockpit.cli.nodes", "Run one command on every node of a cluster."),
    "doctor": (
        "cockpit.cli.doctor",
        "Check nodes: in reach, sound, alike; --deep trains for real.",
    ),
    "clean": ("cockpit.cli.nodes", "Remove ended jobs and unused code from the nodes."),
    "trust": ("cockpit.cli.trust", "Show the host keys of nodes and remember them."),
    "record": ("cockpit.cli.record", "Save a job's journals and logs, to be replayed."),
    "profiles": ("cockpit.cli.profiles", "List, show and validate profiles."),
    "demo": ("cockpit.cli.demo", "Train for real on two virtual nodes of this machine."),
}


class _LazyGroup(click.Group):
    """Knows its commands' names and summaries without importing their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry[0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Use this cockpit.toml instead of the nearest one.",
)
@click.option("--theme", metavar="NAME", help="Theme of the screen.")
@click.option("--read-only", is_flag=True, help="Change nothing from the screen.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60),
    metavar="S",
    help="Seconds between two samples of each node on the screen, 1 unless given.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Play a job's journal, or the folder of a job, on the screen.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0.25, 1000),
    metavar="N",
    help="How many seconds of a replay pass in one.",
)
@click.version_option(__version__, "--version", prog_name="cockpit")
@click.pass_context
def cli(
    ctx: click.Context,
    config: Path | None,
    theme: str | None,
    read_only: bool,
    interval: float | None,
    replay: Path | None,
    speed: float | None,
) -> None:
    """Launch PyTorch jobs on machines reached by SSH, and see the truth about them.

    Without a command: the full-screen cockpit.
    """
    ctx.obj = {"config": config, "theme": theme, "read_only": read_only}
    if speed is not None and replay is None:
        raise click.UsageError("--speed is of a replay: give --replay FILE too")
    if replay is not None:
        if ctx.invoked_subcommand is not None:
            raise click.UsageError(f"--replay does not go with `{ctx.invoked_subcommand}`")
        for name, given in (("--config", config), ("--interval", interval)):
            if given is not None:
                raise click.UsageError(f"{name} does not go with --replay: no node is asked")
        from cockpit.cli.replay import open_replay

        open_replay(replay, theme, speed or 1.0)
    elif ctx.invoked_subcommand is not None:
        if interval is not None:
            raise click.UsageError("--interval is of the screen")
    else:
        from cockpit.cli.screen import open_screen

        open_screen(config, theme, read_only=read_only, interval=interval)


def tell(error: CockpitError) -> None:
    """Print an error for a person: what went wrong, on which nodes, and what to do next."""
    from cockpit.text import after_name, clean

    if isinstance(error, ConfigError):
        for problem in error.problems:
            click.echo(f"cockpit: {clean(str(problem))}", err=True)
        return
    click.echo(f"cockpit: {clean(error.message)}", err=True)
    hint = error.hint
    if isinstance(error, StartError):
        for node, reason in error.reasons.items():
            click.echo(f"  {node}: {after_name(node, clean(reason.message))}", err=True)
            if reason.hint and reason.hint != hint:
                click.echo(f"    hint: {clean(reason.hint)}", err=True)
    if hint:
        click.echo(f"  hint: {clean(hint)}", err=True)


def _discard_stdout() -> None:
    """What is still buffered can go nowhere; the interpreter shall not trip over it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        # Not cli.main(): it turns a closed stdout into exit code 1, which is a failed job's.
        with cli.make_context("cockpit", sys.argv[1:]) as ctx:
            cli.invoke(ctx)
        code = 0
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.UsageError as error:
        error.show()
        code = ExitCode.USAGE
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("cockpit: aborted", err=True)
        code = ExitCode.CANCELLED
    except CockpitError as error:
        tell(error)
        code = error.exit_code
    except BrokenPipeError:
        # The reader of stdout went away (`cockpit logs … | head`): nothing is wrong with us.
        _discard_stdout()
        code = 128 + 13
    except OSError as error:
        click.echo(f"cockpit: cannot write the output: {error.strerror or error}", err=True)
        _discard_stdout()
        code = ExitCode.IO_ERROR
    sys.exit(int(code or 0))
