"""Says where it runs: the smallest job there is. Needs nothing but Python.

cockpit run --nproc-per-node 2 examples/hello.py
"""

from __future__ import annotations

import os
import socket
import sys
import time


def main() -> None:
    name = os.environ.get
    print(
        f"hello from rank {name('RANK', '0')} of {name('WORLD_SIZE', '1')}, "
        f"local rank {name('LOCAL_RANK', '0')} of {name('LOCAL_WORLD_SIZE', '1')}, "
        f"node {name('GROUP_RANK', '0')} ({socket.gethostname()}), pid {os.getpid()}, "
        f"Python {sys.version.split()[0]}",
        flush=True,
    )
    for step in range(3):
        time.sleep(0.5)
        print(f"step={step}", flush=True)


if __name__ == "__main__":
    main()
