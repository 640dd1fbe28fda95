"""Typed access to the arguments of a request, so that a wrong one is named and nothing guesses.

Every operation reads its arguments through this. All errors are RequestFailedError "bad_request".
"""

from __future__ import annotations

import math

from cockpit.node.failures import RequestFailedError
from cockpit.protocol import layout

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any


class Arguments:
    """The JSON object of one request."""

    def __init__(self, op: str, values: dict[str, Any]) -> None:
        self.op = op
        self.values = values

    def text(self, name: str, default: str | None = None) -> str:
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "text")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self.values.get(name) is None else self.integer(name)

    def boolean(self, name: str, default: bool) -> bool:
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def seconds(self, name: str, default: float, least: float = 0.0) -> float:
        """A finite number of seconds, raised to `least`."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong(name, "a number of seconds")
        if not math.isfinite(value):
            raise self.wrong(name, "a finite number of seconds")
        return max(float(value), least)

    def optional_seconds(self, name: str) -> float | None:
        return None if self.values.get(name) is None else self.seconds(name, 0.0)

    def texts(self, name: str) -> list[str]:
        value = self._get(name, None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of texts")
        return value

    def mapping(self, name: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
        value = self._get(name, default)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return value

    def text_mapping(self, name: str) -> dict[str, str]:
        value = self.mapping(name, {})
        if not all(isinstance(item, str) for item in value.values()):
            raise self.wrong(name, "an object of texts")
        return value

    def job(self, name: str = "job") -> str:
        value = self.text(name)
        if not layout.JOB_ID.fullmatch(value):
            raise self.wrong(name, "a job id (12 hexadecimal digits)")
        return value

    def digest(self, name: str = "digest") -> str:
        value = self.text(name)
        if not layout.DIGEST.fullmatch(value):
            raise self.wrong(name, "a sha256 digest (64 hexadecimal digits)")
        return value

    def wrong(self, name: str, expected: str) -> RequestFailedError:
        """The failure to raise when `name` is not what `op` takes."""
        return RequestFailedError("bad_request", f"`{name}` of `{self.op}` must be {expected}")

    def _get(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise RequestFailedError("bad_request", f"`{self.op}` needs `{name}`")
        return value
