"""How the supervisor asks something of the launcher process: a file in the attempt's folder.

One step further than `commands`: agents leave commands for supervisors, supervisors leave requests
for instrumented launcher processes, which obey them on all nodes together. `requests` is the
reading side.
"""

from __future__ import annotations

import os

from cockpit.node import durable
from cockpit.node.launch.requests import Request
from cockpit.protocol import layout


def leave(attempt: str, request: Request) -> None:
    """Put `request` into the attempt's folder, durably. Raises OSError."""
    folder = os.path.join(attempt, layout.REQUESTS)
    durable.make_folder(folder)
    document = durable.to_json(request._asdict())
    durable.write(path(attempt, request.id), document)


def path(attempt: str, request_id: str) -> str:
    """Where the request lies."""
    return os.path.join(attempt, layout.REQUESTS, f"{request_id}.json")
