"""Times of several nodes on one clock, so that "earliest" means something across nodes.

Where the clocks of a cluster agree, the nodes' own stamps are better than any offset measured
over a network, so they are left alone. Only a node that is plainly off from the others is
shifted. Used by `attempts` for causes and by `merged` for log lines.
"""

from __future__ import annotations

from collections.abc import Mapping

from cockpit.transport.base import Link

TOLERANCE = 0.25
"""Seconds. What lies closer to the cluster's clock than this, or than a round trip, is noise."""


def skews(links: Mapping[str, Link]) -> dict[str, float]:
    """Node name -> seconds to subtract from its stamps; nodes that need nothing are left out.

    The cluster's clock is that of the median node (the lower one of two).
    """
    offsets = {
        name: link.clock_offset for name, link in links.items() if link.clock_offset is not None
    }
    if len(offsets) < 2:
        return {}
    median = sorted(offsets.values())[(len(offsets) - 1) // 2]
    result: dict[str, float] = {}
    for name, offset in offsets.items():
        skew = offset - median
        if abs(skew) > max(TOLERANCE, links[name].rtt or 0.0):
            result[name] = skew
    return result
