"""`cockpit profiles`: what is configured, which file says so, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cockpit.cli.common import load_config, print_json
from cockpit.errors import ExitCode, UsageError
from cockpit.text import clean

if TYPE_CHECKING:
    from cockpit.errors import Problem
    from cockpit.profiles import Config


@click.group()
def profiles() -> None:
    """List, show and validate profiles."""


@profiles.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def list_profiles(ctx: click.Context, as_json: bool) -> None:
    """List clusters, launchers, jobs and rules."""
    config = load_config(ctx)
    document = {
        "schema": 1,
        "files": list(config.files),
        "clusters": sorted(config.clusters),
        "launchers": sorted(config.launchers),
        "jobs": sorted(config.jobs),
        "rules": sorted(config.rules),
    }
    if as_json:
        print_json(document)
        return
    for cluster in config.clusters.values():
        click.echo(f"cluster   {cluster.name}  {cluster.executor}, {len(cluster.nodes)} nodes")
    for launcher in config.launchers.values():
        click.echo(f"launcher  {launcher.name}  {launcher.kind}")
    for job in config.jobs.values():
        click.echo(f"job       {job.name}  on {job.cluster} with {job.launcher}")
    for rule in config.rules.values():
        click.echo(clean(f"rule      {rule.name}  {rule.cause}"))
    for file in config.files:
        click.echo(f"file      {file}")


@profiles.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.argument("name")
@click.pass_context
def show(ctx: click.Context, as_json: bool, name: str) -> None:
    """Show the effective values of a profile, and the file and line that set each.

    NAME is clusters.X, launchers.X, jobs.X or rules.X, or just X where that is unique; or one of
    screen, notify and keys.
    """
    import msgspec

    from cockpit.profiles.keys import quote

    config = load_config(ctx)
    tables: dict[str, Mapping[str, Any]] = {
        "clusters": config.clusters,
        "launchers": config.launchers,
        "jobs": config.jobs,
        "rules": config.rules,
    }
    found: list[tuple[str, Any]] = [
        (f"{kind}.{key}", value)
        for kind, table in tables.items()
        for key, value in table.items()
        if name in (key, f"{kind}.{key}")
    ]
    singles = {"screen": config.screen, "notify": config.notify, "keys": config.keys}
    if name in singles:
        found = [(name, singles[name])]
    if not found:
        raise UsageError(f"there is no profile {name!r}", "`cockpit profiles list` lists them")
    if len(found) > 1:
        names = ", ".join(key for key, _ in found)
        raise UsageError(f"{name!r} is ambiguous", f"say which: {names}")
    prefix, value = found[0]
    values = msgspec.to_builtins(value)
    if as_json:
        sources = {
            k: {"file": s.file, "line": s.line}
            for k, s in config.sources.items()
            if k.startswith(f"{prefix}.")
        }
        print_json({"schema": 1, "name": prefix, "values": values, "sources": sources})
        return
    click.echo(f"[{prefix}]")
    for field, content in values.items():
        source = config.sources.get(f"{prefix}.{quote(field)}")
        where = f"{source.file}:{source.line}" if source and source.file else "default"
        text = msgspec.json.encode(content).decode()
        click.echo(clean(f"{quote(field)} = {text}  # {where}"))


def _key_problems(config: Config | None) -> list[Problem]:
    """What is wrong with `[keys]`: the room of profiles knows neither actions nor keys."""
    if config is None or not config.keys:
        return []
    from cockpit.errors import Problem
    from cockpit.profiles.keys import quote
    from cockpit.tui import keymap
    from cockpit.tui.actions import ACTIONS

    found = []
    for trouble in keymap.build(ACTIONS, config.keys).troubles:
        key = f"keys.{quote(trouble.action)}"
        source = config.sources.get(key)
        found.append(
            Problem(
                message=trouble.message,
                file=source.file if source is not None else "",
                key=key,
                line=source.line if source is not None else 0,
                hint=trouble.hint,
                level="warning",
            )
        )
    return found


@profiles.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def validate(ctx: click.Context, as_json: bool, files: tuple[Path, ...]) -> None:
    """Check FILES, or the files in force, and list every problem with its line."""
    from cockpit import profiles as room

    explicit: Path | None = ctx.find_root().obj["config"]
    checked = files or tuple(room.config_files(explicit))
    config, problems = room.check(checked)
    problems = [*problems, *_key_problems(config)]
    if as_json:
        print_json(
            {
                "schema": 1,
                "files": [str(file) for file in checked],
                "problems": [
                    {
                        "file": p.file,
                        "line": p.line,
                        "column": p.column,
                        "key": p.key,
                        "level": p.level,
                        "message": p.message,
                        "hint": p.hint,
                    }
                    for p in problems
                ],
            }
        )
    else:
        for problem in problems:
            click.echo(clean(f"{problem.level}: {problem}"))
        if not problems:
            names = ", ".join(str(file) for file in checked) or "no file; the defaults are in force"
            click.echo(f"ok: {names}")
    if any(problem.level == "error" for problem in problems):
        ctx.exit(int(ExitCode.CONFIG))


@profiles.command()
def schema() -> None:
    """Print the JSON Schema of cockpit.toml, for editors."""
    from cockpit import profiles as room

    print_json(room.schema())
