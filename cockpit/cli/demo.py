"""`cockpit demo`: a real two-node training on virtual nodes of this machine, over real SSH."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cockpit.cli.common import narrate, run_async
from cockpit.errors import UsageError

if TYPE_CHECKING:
    from cockpit.controller import Controller

NODES = ("node0", "node1")
RANKS = 2
SIMULATED_GPUS = 2
GPUS = 8
"""Of a made-up node."""


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1.0),
    default=30.0,
    show_default=True,
    metavar="S",
    help="How long to train.",
)
@click.option(
    "--nodes",
    type=click.IntRange(2, 256),
    metavar="N",
    help="No training: N made-up nodes, to try the screen at scale.",
)
@click.option(
    "--gpus",
    type=click.IntRange(1, 16),
    metavar="M",
    help="GPUs of each made-up node, 8 unless given; with --nodes only.",
)
@click.option("--headless", is_flag=True, help="Stream lines also where there is a terminal.")
@click.pass_context
def demo(
    ctx: click.Context, seconds: float, nodes: int | None, gpus: int | None, headless: bool
) -> None:
    """Train a small model on two virtual nodes × two ranks: real sshd, real torchrun, real DDP.

    The nodes are SSH servers that cockpit runs on loopback with fresh keys; their GPUs are
    simulated and say so. With a terminal the cockpit opens on it; without, lines are printed.

    With --nodes nothing is started at all: the cockpit opens on a fleet of made-up nodes and jobs.
    """
    if nodes is not None:
        _simulate(ctx, nodes, gpus or GPUS, headless=headless)
        return
    if gpus is not None:
        raise UsageError("--gpus says how many GPUs made-up nodes have", "give --nodes too")
    screen = not headless and sys.stdin.isatty() and sys.stdout.isatty()
    theme: str | None = ctx.find_root().obj["theme"]
    ctx.exit(run_async(_demo(seconds, screen, theme)))


def _simulate(ctx: click.Context, nodes: int, gpus: int, *, headless: bool) -> None:
    from cockpit.cli.screen import check_terminal

    if headless:
        raise UsageError(
            "a simulated fleet can only be looked at on the screen",
            "`cockpit demo --headless` trains for real, on two virtual nodes",
        )
    check_terminal()
    from cockpit import tui
    from cockpit.tui.simulated import SimulatedSource

    given = ctx.find_root().obj
    source = SimulatedSource(nodes, gpus)
    tui.run(source, theme=given["theme"], read_only=given["read_only"], remember=False)


def example_script() -> Path:
    """The training script, from the wheel or from a checkout."""
    packaged = Path(str(resources.files("cockpit"))) / "examples" / "train_ddp.py"
    checkout = Path(__file__).resolve().parents[2] / "examples" / "train_ddp.py"
    for path in (packaged, checkout):
        if path.is_file():
            return path
    raise UsageError("the example train_ddp.py is not installed", "reinstall cluster-cockpit")


async def _demo(seconds: float, screen: bool, theme: str | None) -> int:
    from cockpit import packaging, profiles
    from cockpit.cli.follow import Follower
    from cockpit.cli.printer import Printer, use_utf8
    from cockpit.cli.screen import show
    from cockpit.controller import Controller
    from cockpit.launchers.plan import Request
    from cockpit.transport.virtual import VirtualCluster

    use_utf8()
    script = await asyncio.to_thread(example_script)
    root = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="cockpit-demo-"))
    virtual = VirtualCluster(root / "nodes", NODES, gpus=SIMULATED_GPUS)
    try:
        await virtual.start()
        cluster = virtual.cluster("demo", python=sys.executable)
        config = profiles.with_cluster(profiles.builtin(), cluster)
        narrate(f"two virtual nodes on loopback below {root}; their GPUs are simulated")
        source = root / "code"
        await asyncio.to_thread(_copy, script, source)
        package = await asyncio.to_thread(packaging.pack, source)
        launcher = config.launchers["torchrun"]
        request = Request(
            name="demo",
            cluster=cluster,
            launcher=launcher,
            nodes=cluster.nodes,
            min_nodes=len(NODES),
            max_nodes=len(NODES),
            nproc_per_node=RANKS,
            script=script.name,
            args=("--seconds", str(seconds)),
            working_dir=str(source),
            max_restarts=1,
        )
        async with Controller(config, state_root=root / "controller", telemetry=True) as controller:
            controller.open(["demo"])
            job = await controller.launch(
                request, archive=package, files=package.files, say=narrate
            )
            if screen:
                await show(controller, theme, focus_job=job, remember=False)
                return await _leave(controller, job)
            follower = Follower(
                controller,
                job,
                Printer(as_json=False),
                narrate,
                cancel_on_interrupt=True,
                contact_timeout=60.0,
            )
            return await follower.follow()
    finally:
        await virtual.close()
        await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)


def _copy(script: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    shutil.copy(script, target / script.name)


async def _leave(controller: Controller, job: str) -> int:
    """A demo leaves nothing behind: what still trains is ended with its virtual nodes."""
    if not controller.job(job).state.ended:
        narrate("the demo's nodes go away with it: ending the training")
        report = await controller.cancel(job, grace=5.0, reason="the demo was left")
        narrate(report.proof)
    return 0
