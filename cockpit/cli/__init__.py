"""The headless face: `cockpit COMMAND`. stdout is data, stderr is narration.

Importing this package loads click and nothing heavy; each command's module is imported when the
command is used, so that `cockpit --help` stays quick.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the `cockpit` script."""
    from cockpit.cli.app import run

    run()
