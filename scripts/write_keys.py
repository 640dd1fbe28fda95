"""Write docs/keys.md from the registry of actions: `make docs`. A test compares the two."""

from __future__ import annotations

from pathlib import Path

from cockpit.tui.actions import ACTIONS, Action, View
from cockpit.tui.commands import names_of, takes_argument

TARGET = Path(__file__).resolve().parents[1] / "docs" / "keys.md"

HEAD = """\
# Keys and commands of the screen

Written by `make docs` from the registry of actions (`cockpit/tui/actions/`); do not edit.

Every action has an id. Keys are changed in `cockpit.toml` by it; a string or a list, and an empty
list takes all keys away. Keys are written as `x`, `X`, `?`, `ctrl+x` or `^x`, `f9`, `enter`,
`pageup`:

```toml
[keys]
"job.cancel" = "ctrl+x"
"view.jobs" = ["2", "f2"]
"app.screenshot" = []
```

A key that you give to one action is taken from others that have it in the same view; the cockpit
says so when it starts, and `cockpit profiles validate` does, too.

**✎** changes something on nodes or in files, so `--read-only` forbids it; **!** asks first.
"""


def _key(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _row(action: Action) -> str:
    keys = " ".join(_key(key) for key in action.key_text.split()) or "–"
    words = [f"`:{name}`" for name in names_of(action)[:2]]
    if takes_argument(action) and action.words is not None:
        words[0] = f"`:{names_of(action)[0]} {action.words.argument}`"
    marks = ("✎" if action.writes else "") + ("!" if action.dangerous else "")
    cells = (keys, f"{action.title} {marks}".strip(), " ".join(words), f"`{action.id}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(actions: list[Action]) -> str:
    head = "| Keys | What it does | Command | Id |\n|---|---|---|---|\n"
    return head + "\n".join(_row(action) for action in actions) + "\n"


def text() -> str:
    """The whole page."""
    parts = [HEAD, "\n## Everywhere\n\n", _table([each for each in ACTIONS if not each.views])]
    for view in View:
        here = [action for action in ACTIONS if view in action.views]
        if here:
            parts.append(f"\n## In {view.value.title()}\n\n{_table(here)}")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
