"""Takes torchrun's place: `PYTHON -u …/cockpit/node/elastic.py [--ft] ARGUMENTS…`.

Started by path in the job's own Python, so all it does is to make the runtime's package
importable without getting in the way of anybody else's modules, and to hand over to
`cockpit.node.launch.launcher`, which runs torchrun's own main(), or with `--ft` in front
ft_launcher's, with its agent instrumented.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    own = os.path.dirname(os.path.realpath(__file__))
    runtime = os.path.dirname(os.path.dirname(own))
    # Python put this folder in front; its module names must not stand in for others'.
    if sys.path and os.path.realpath(sys.path[0]) == own:
        del sys.path[0]
    # In front while our package is found, whatever else may be called `cockpit`; then at the end.
    sys.path.insert(0, runtime)
    from cockpit.node.launch import launcher

    sys.path.remove(runtime)
    sys.path.append(runtime)
    if sys.argv[1:2] != ["--ft"]:
        launcher.main(sys.argv[1:])
        return
    from cockpit.node.launch.ft import FtLauncher

    launcher.main(sys.argv[2:], FtLauncher())


if __name__ == "__main__":
    main()
