"""Where a secret's value is to be had, which is all that profiles and documents know of it.

By itself, since profiles are read before the first frame of the screen and documents after it.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class SecretRef:
    """Where a controller finds a secret's value at launch; exactly one field is set.

    `env`: a variable of the controller, `cmd`: argv whose stdout (less one newline) is the value,
    `file`: a file on the controller (less one newline).
    """

    env: str | None = None
    cmd: tuple[str, ...] | None = None
    file: str | None = None
