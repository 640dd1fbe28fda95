"""`cockpit trust`: look at the host keys of nodes, and remember them after a yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cockpit.cli.common import load_config, narrate, run_async
from cockpit.errors import ExitCode, UsageError
from cockpit.text import clean, count_of

if TYPE_CHECKING:
    from cockpit.profiles import Cluster, Config


def _cluster(config: Config, name: str | None, nodes: tuple[str, ...]) -> Cluster:
    """The cluster that was named, or the only one that has a node of these names."""
    clusters = config.clusters
    if name is not None:
        if name not in clusters:
            raise UsageError(f"there is no cluster {name!r}", ", ".join(sorted(clusters)))
        return clusters[name]
    if not nodes:
        raise UsageError("whose host keys?", "name nodes, or a cluster with -c")
    found = [
        cluster
        for cluster in clusters.values()
        if cluster.executor != "local"
        and any(spec.name in nodes for spec in (*cluster.nodes, *cluster.spares))
    ]
    if len(found) != 1:
        names = ", ".join(cluster.name for cluster in found) or "no cluster"
        raise UsageError(f"{', '.join(nodes)} is a node of {names}", "name one cluster with -c")
    return found[0]


@click.command()
@click.option("-c", "--cluster", metavar="NAME", help="The cluster of the nodes.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; for scripts that checked the keys.")
@click.argument("node", nargs=-1)
@click.pass_context
def trust(ctx: click.Context, cluster: str | None, yes: bool, node: tuple[str, ...]) -> None:
    """Show the fingerprints that NODEs of a cluster offer, and write known_hosts after a yes.

    Compare them with what the machine's owner tells you. A key that CHANGED is never written.
    """
    from cockpit.transport import trust as keys

    profile = _cluster(load_config(ctx), cluster, node)
    specs = [spec for spec in (*profile.nodes, *profile.spares) if not node or spec.name in node]
    missing = set(node) - {spec.name for spec in specs}
    if missing:
        raise UsageError(
            f"{profile.name} has no node {', '.join(sorted(missing))}",
            f"it has: {', '.join(spec.name for spec in profile.nodes)}",
        )
    offers = run_async(keys.scan(profile, specs))
    for offer in offers:
        if offer.state == "unreachable":
            narrate(f"{offer.node} ({offer.host}): {offer.why}")
        else:
            words = (offer.node, offer.host, offer.key_type, offer.fingerprint, offer.state)
            click.echo(clean("  ".join(words)))
    changed = [offer for offer in offers if offer.state == "changed"]
    for offer in changed:
        narrate(
            f"{offer.node}: its host key CHANGED; known_hosts has {', '.join(offer.known)}. Someone"
            " may be between you and it, or it was set up anew. Ask its owner; then remove the old"
            f" line from {offer.file} yourself"
        )
    unknown = [offer for offer in offers if offer.state == "unknown"]
    if unknown:
        if not yes:
            click.confirm(f"Remember {count_of(len(unknown), 'key')}?", abort=True, err=True)
        for file, count in keys.remember(unknown).items():
            narrate(f"{count_of(count, 'key')} written to {file}")
    unreachable = any(offer.state == "unreachable" for offer in offers)
    ctx.exit(int(ExitCode.PERMISSION if changed else ExitCode.UNAVAILABLE if unreachable else 0))
