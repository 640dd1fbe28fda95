"""`cockpit trust`: look at the host keys of nodes, and remember them after a yes."""

from __future__ import annotations

import click

from cockpit.cli.common import load_config, narrate, run_async
from cockpit.errors import ExitCode, UsageError
from cockpit.text import clean


@click.command()
@click.option("-c", "--cluster", metavar="NAME", required=True, help="The cluster of the nodes.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; for scripts that checked the keys.")
@click.argument("node", nargs=-1)
@click.pass_context
def trust(ctx: click.Context, cluster: str, yes: bool, node: tuple[str, ...]) -> None:
    """Show the fingerprints that NODEs of a cluster offer, and write known_hosts after a yes.

    Compare them with what the machine's owner tells you. A key that CHANGED is never written.
    """
    from cockpit.transport import trust as keys

    config = load_config(ctx)
    profile = config.clusters.get(cluster)
    if profile is None:
        raise UsageError(f"there is no cluster {cluster!r}", ", ".join(sorted(config.clusters)))
    specs = [spec for spec in (*profile.nodes, *profile.spares) if not node or spec.name in node]
    if not specs or len(specs) < len(node):
        raise UsageError(f"{cluster} has no such node", ", ".join(s.name for s in profile.nodes))
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
            f"{offer.node}: its host key CHANGED; {offer.known} is what known_hosts has. Someone"
            " may be between you and it, or it was set up anew. Ask its owner; then remove the old"
            f" line from {offer.file} yourself"
        )
    unknown = [offer for offer in offers if offer.state == "unknown"]
    if unknown:
        if not yes:
            click.confirm(f"Remember these {len(unknown)} keys?", abort=True, err=True)
        for file in sorted({offer.file for offer in unknown}):
            count = keys.write(file, [offer for offer in unknown if offer.file == file])
            narrate(f"{count} keys written to {file}")
    unreachable = any(offer.state == "unreachable" for offer in offers)
    ctx.exit(int(ExitCode.PERMISSION if changed else ExitCode.UNAVAILABLE if unreachable else 0))
