"""Run on a pseudo-terminal by the tests of profiles: the screen in the folder that is named."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.chdir(sys.argv[1])
    from cockpit.cli.screen import open_screen

    open_screen(None, None)
