"""Looks into a built wheel: what must travel in it is there, what must not is not.

Run by `make wheel` as `check_wheel.py WHEEL`; exits 1 and names what is wrong.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

FOLDERS = {"cockpit": "cockpit", "themes": "cockpit/themes", "examples": "cockpit/examples"}
"""Folder of the repository -> its folder in the wheel."""
FOREIGN = ("tests/", "benchmarks/", "docs/", "scripts/", ".ci/")


def expected(root: Path) -> set[str]:
    """What the repository says must be inside."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *FOLDERS],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = [name for name in listing.split("\0") if name and (root / name).exists()]
    return {
        f"{FOLDERS[folder]}/{rest}" for folder, _, rest in (name.partition("/") for name in names)
    }


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        found = set(wheel.namelist())
    missing = sorted(expected(root) - found)
    foreign = sorted(name for name in found if name.startswith(FOREIGN))
    if not any(name.endswith("licenses/LICENSE") for name in found):
        missing.append("LICENSE")
    for name in missing:
        print(f"missing in the wheel: {name}", file=sys.stderr)
    for name in foreign:
        print(f"does not belong in the wheel: {name}", file=sys.stderr)
    print(f"{sys.argv[1]}: {len(found)} files", file=sys.stderr)
    return 1 if missing or foreign else 0


if __name__ == "__main__":
    raise SystemExit(main())
