"""`cockpit record JOB FOLDER`: a job's journals and logs in one folder, to be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cockpit.cli.common import narrate, with_controller
from cockpit.cli.jobs import cluster_option, find_job
from cockpit.errors import ExitCode
from cockpit.text import count_of

if TYPE_CHECKING:
    from cockpit.controller import Controller


@click.command()
@cluster_option
@click.option("--no-logs", is_flag=True, help="Only the journals: a few hundred kilobytes.")
@click.argument("job")
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_context
def record(
    ctx: click.Context, cluster: tuple[str, ...], no_logs: bool, job: str, folder: Path
) -> None:
    """Save what the nodes hold of JOB to FOLDER, whether it runs or has ended.

    `cockpit --replay FOLDER` plays it on the screen, on any machine and without the nodes. With
    its logs it holds whatever the job printed: look before you hand it on.
    """

    async def work(controller: Controller) -> int:
        found = await find_job(controller, cluster, job)
        saved = await controller.save(found.id, folder, logs=not no_logs)
        for node, reason in sorted(saved.failed.items()):
            narrate(f"{node} is missing: {reason}")
        files = count_of(saved.files, "file")
        narrate(f"{files}, {saved.size / 1e6:.1f} MB of {found.name} saved in {folder}")
        narrate(f"`cockpit --replay {folder}` plays it")
        return int(ExitCode.CONTACT_LOST) if saved.failed else 0

    ctx.exit(with_controller(ctx, work))
