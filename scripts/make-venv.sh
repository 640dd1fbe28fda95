#!/bin/sh
# Make the virtual environment $1 with $PYTHON, or the first Python >= 3.10 that is found.
set -eu

venv=$1
for candidate in ${PYTHON:-} python3 python python3.14 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        if ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            without_venv=$candidate
            continue
        fi
        echo "setting up $venv with $("$candidate" -c 'import sys; print(sys.executable, sys.version.split()[0])')"
        exec "$candidate" -m venv "$venv"
    fi
done
if [ -n "${without_venv:-}" ]; then
    echo "error: $without_venv cannot make virtual environments; on Debian: apt-get install python3-venv" >&2
else
    echo "error: no Python >= 3.10 was found; name one with \`make PYTHON=/path/to/python …\`" >&2
fi
exit 1
