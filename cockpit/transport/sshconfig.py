"""Options of the user's ssh_config that have no effect here, although `ssh` obeys them.

asyncssh reads the rest. `doctor` shows these notes, and a host key error carries them, because
they are why `ssh host` and cockpit can differ.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import shlex
from collections.abc import Iterator, Sequence

_IGNORED = {
    "stricthostkeychecking": "host keys are always checked; use `cockpit trust`",
    "knownhostscommand": "only files are searched for host keys",
    "controlmaster": "cockpit keeps one connection of its own per node",
    "controlpath": "cockpit keeps one connection of its own per node",
    "passwordauthentication": "cockpit never sends passwords",
    "kbdinteractiveauthentication": "cockpit answers no questions of the server",
}
# With these values an ignored option changes nothing.
_SAME = {
    "stricthostkeychecking": {"yes", "true", "ask"},
    "controlmaster": {"no", "false"},
    "controlpath": {"none"},
    "knownhostscommand": {"none"},
    "passwordauthentication": {"no", "false", "yes", "true"},
    "kbdinteractiveauthentication": {"no", "false", "yes", "true"},
}
_DEPTH = 16


def notes(files: Sequence[str], host: str) -> list[str]:
    """One line per option that applies to `host` and is ignored. Reads files; never raises."""
    found: dict[str, str] = {}
    for name in files:
        for option, value, where in _options(os.path.expanduser(name), host, 0):
            if option in _IGNORED and option not in found:
                if value.lower() in _SAME[option]:
                    found[option] = ""
                else:
                    found[option] = f"{where}: {option} {value} has no effect: {_IGNORED[option]}"
    return [note for note in found.values() if note]


def _options(path: str, host: str, depth: int) -> Iterator[tuple[str, str, str]]:
    """(option, value, file:line) of everything in force for `host`, first come first."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except OSError:
        return
    applies = True
    for number, line in enumerate(lines, 1):
        words = _words(line)
        if not words:
            continue
        option, values = words[0].lower(), words[1:]
        if option == "host":
            applies = _matches(values, host)
        elif option == "match":
            applies = _match_block(values, host)
        elif not applies:
            continue
        elif option == "include" and depth < _DEPTH:
            for pattern in values:
                below = os.path.join(os.path.expanduser("~/.ssh"), os.path.expanduser(pattern))
                for included in sorted(glob.glob(below)):
                    yield from _options(included, host, depth + 1)
        else:
            yield option, " ".join(values), f"{path}:{number}"


def _words(line: str) -> list[str]:
    line = line.strip()
    if not line or line.startswith("#"):
        return []
    option, _, rest = line.replace("\t", " ").replace("=", " ", 1).partition(" ")
    try:
        return [option, *shlex.split(rest)]
    except ValueError:
        return [option, rest.strip()]


def _matches(patterns: Sequence[str], host: str) -> bool:
    hit = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if fnmatch.fnmatchcase(host, pattern[negated:]):
            if negated:
                return False
            hit = True
    return hit


def _match_block(words: Sequence[str], host: str) -> bool:
    """Only conditions on the host can be told here; any other counts as not met."""
    lowered = [word.lower() for word in words]
    if lowered == ["all"]:
        return True
    if len(words) == 2 and lowered[0] in ("host", "originalhost"):
        return _matches(words[1].split(","), host)
    return False
