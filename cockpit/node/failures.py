"""The one exception by which node code answers a request with FAIL."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any


class RequestFailedError(Exception):
    """Carries the fields of `cockpit.protocol.messages.Failure`."""

    def __init__(
        self, code: str, message: str, hint: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details or {}
