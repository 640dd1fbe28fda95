"""The headless face: `cockpit COMMAND`. stdout is data, stderr is narration.

Importing this package loads click and nothing heavy; each command's module is imported when the
command is used, so that `cockpit --help` stays quick.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the `cockpit` script."""
    try:
        from cockpit.cli.app import run
    except KeyboardInterrupt:
        # As `run` says it; what it would need for that may be half loaded.
        sys.stderr.write("cockpit: aborted\n")
        sys.exit(130)
    run()
