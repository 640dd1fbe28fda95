"""Environment variables as people give them: `-e K=V`, dotenv files, and names that look secret.

Called by the command line and by the check of the configuration. Values never appear in errors.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cockpit.errors import UsageError
from cockpit.protocol import layout

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN = frozenset(
    {
        layout.MARKER,
        layout.ATTEMPT_DIR_ENV,
        layout.LAUNCHER_PID_ENV,
        layout.GENERATION_ENV,
        layout.SLOTS_ENV,
    }
)
_SECRET_WORDS = frozenset(
    {"TOKEN", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS",
     "APIKEY", "PAT"}
)  # fmt: skip
_SECRET_KEYS = frozenset({"API", "ACCESS", "SECRET", "PRIVATE", "AUTH", "SIGNING", "ENCRYPTION"})
"""What makes a secret of the word KEY behind it."""
_HARMLESS_ENDS = frozenset({"FILE", "PATH", "DIR", "URL", "NAME", "COUNT", "LENGTH", "LIMIT", "ID"})

_LINE = re.compile(r"(?:export\s+)?([^=\s]+)\s*=\s*(.*)", re.DOTALL)
_EXPORTED = re.compile(r"export\s+([^=\s]+)\s*")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'[ \t]*(?:#.*)?", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def looks_secret(name: str) -> bool:
    """Whether a variable of this name usually holds something that nobody else may read."""
    words = re.split(r"[^A-Z0-9]+", name.upper())
    if words[-1] in _HARMLESS_ENDS:
        return False
    pairs = itertools.pairwise(words)
    return not _SECRET_WORDS.isdisjoint(words) or any(
        first in _SECRET_KEYS and second in ("KEY", "KEYS") for first, second in pairs
    )


def check_name(name: str) -> None:
    """Raises UsageError unless `name` can be the name of a job's environment variable."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of an environment variable", "letters, digits and underscores"
        )
    if name in _OWN:
        raise UsageError(f"the environment variable {name} is cockpit's own", "choose another name")


def parse_env(items: Sequence[str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """`["A=1", "B"]` -> `{"A": "1", "B": <value of B here>}`; later ones win.

    `environ` is where lone names are looked up, `os.environ` unless given. Raises UsageError on
    a bad name, on a lone name that is not set, and on a value with NUL.
    """
    known = os.environ if environ is None else environ
    result: dict[str, str] = {}
    for item in items:
        name, given, value = item.partition("=")
        check_name(name)
        if not given:
            if name not in known:
                raise UsageError(
                    f"-e {name}: the variable is not set here", f"write -e {name}=VALUE"
                )
            value = known[name]
        if "\0" in value:
            raise UsageError(f"-e {name}: the value holds NUL, which no environment can")
        result[name] = value
    return result


def read_env_file(path: str | os.PathLike[str]) -> dict[str, str]:
    r"""Variables of a dotenv file: `NAME=value` lines, `export` allowed, `#` comments.

    An unquoted value ends at ` #` and is trimmed; in "double quotes" `\n`, `\t`, `\r`, `\"`, `\\`
    and `\$` are escapes and the value may span lines; 'single quotes' take everything as it is.
    Nothing is expanded. Raises UsageError with file and line.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text", "save the file as UTF-8") from error
    result: dict[str, str] = {}
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        start = at
        line = lines[at].strip()
        at += 1
        if not line or line.startswith("#") or _EXPORTED.fullmatch(line):
            continue
        match = _LINE.fullmatch(lines[start].strip(" \t\r"))
        if match is None:
            raise UsageError(f"{file}:{start + 1}: not a NAME=value line", "comments start with #")
        name, rest = match.groups()
        try:
            check_name(name)
        except UsageError as error:
            raise UsageError(f"{file}:{start + 1}: {error.message}", error.hint) from error
        while (value := _value(rest)) is None:
            if at == len(lines):
                raise UsageError(
                    f"{file}:{start + 1}: the quoted value of {name} has no end, or text behind it",
                    "close the quote, and quote the whole value",
                )
            rest += "\n" + lines[at]
            at += 1
        if "\0" in value:
            raise UsageError(f"{file}:{start + 1}: the value of {name} holds NUL")
        result[name] = value
    return result


def _value(text: str) -> str | None:
    """The value behind `=`; None if it starts with a quote that is not closed yet."""
    text = text.rstrip(" \t\r")
    if text.startswith('"'):
        match = _DOUBLE.fullmatch(text)
        return _unescape(match.group(1)) if match else None
    if text.startswith("'"):
        match = _SINGLE.fullmatch(text)
        return match.group(1) if match else None
    if text.startswith("#"):
        return ""
    return re.split(r"[ \t]#", text, maxsplit=1)[0].rstrip()


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        return _ESCAPES.get(
            match.group(1), match.group(1) if match.group(1) in '"\\$`' else match.group()
        )

    return re.sub(r"\\(.)", character, text, flags=re.DOTALL)
