"""Room on the nodes: ended jobs and code that nothing needs any more are removed on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cockpit.errors import NodeError
from cockpit.protocol import layout
from cockpit.transport.link import NodeLink

TIMEOUT = 120.0


async def clean_node(link: NodeLink, keep: int) -> tuple[int, set[str]]:
    """Remove one node's ended jobs beyond the newest `keep`, then its unused code.

    Returns the bytes that came free and the ids of the jobs that are gone there. What runs after
    all is left alone. Raises LinkError, or NodeError for anything else.
    """
    listing = await link.request("jobs", timeout=TIMEOUT)
    entries = [entry for entry in listing["jobs"] if entry.get("job")]
    entries.sort(key=lambda entry: float(entry["job"].get("created_at", 0.0)), reverse=True)
    ended = [entry for entry in entries if _ended(entry)]
    freed = 0
    gone: set[str] = set()
    for entry in ended[keep:]:
        job = str(entry["job"]["id"])
        amount = await _remove(link, job=job)
        if amount is not None:
            freed += amount
            gone.add(job)
    if listing.get("omitted"):
        return freed, gone  # code may belong to a job that was not listed
    used = {
        str(entry["job"]["code"]["digest"])
        for entry in entries
        if entry["job"]["id"] not in gone and entry["job"].get("code")
    }
    folder = await link.request("list", timeout=TIMEOUT, path=layout.CODE)
    for found in folder["entries"]:
        digest = str(found["name"])
        if layout.DIGEST.fullmatch(digest) and digest not in used:
            freed += await _remove(link, digest=digest) or 0
    return freed, gone


async def _remove(link: NodeLink, **what: str) -> int | None:
    try:
        return int((await link.request("clean", timeout=TIMEOUT, **what))["freed"])
    except NodeError as error:
        if error.code == "still_running":
            return None
        raise


def _ended(entry: Mapping[str, Any]) -> bool:
    return all((a.get("events") or {}).get("kind") == "ended" for a in entry["attempts"])
