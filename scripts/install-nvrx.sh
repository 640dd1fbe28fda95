#!/bin/sh
# ft_launcher for the tests of the launcher kind "ft", into the environment of the Python $1. Without
# its dependencies, which would bring a second, warning pynvml; those that it needs on CPUs are in
# the dev group. Where it has no wheel (newer Pythons, other machines), those tests are skipped.
set -eu

requirement='nvidia-resiliency-ext==0.4.1'
if "$1" -c 'import platform, sys; sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 12) and platform.machine() == "x86_64"))'; then
    "$1" -m pip install --quiet --no-deps "$requirement"
else
    echo "no wheel of $requirement for this Python and machine: the tests of ft are skipped"
fi
