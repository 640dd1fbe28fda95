"""Calls a function once a certain module has been imported, by whomever, and never imports it.

Loaded by its path inside a user's process (see `instrument`), so it imports nothing of cockpit. A
finder in front of `sys.meta_path` lets the other finders answer and borrows `exec_module` of the
loader that they give, for that one import: what stays on the module is their spec and their
loader, untouched, so that reload, inspect, pickle and pkgutil see nothing of ours.
"""

from __future__ import annotations

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Then = Callable[[ModuleType], None]


def call(after: dict[str, Then]) -> None:
    """Call each function with its module, right after the module's own code has run.

    Right now for a module that is there already. What a function raises reaches whoever imports.
    """
    missing = {}
    for name, then in after.items():
        module = sys.modules.get(name)
        if module is None:
            missing[name] = then
        else:
            then(module)
    if missing:
        sys.meta_path.insert(0, _Finder(missing))


class _Finder:
    def __init__(self, after: dict[str, Then]) -> None:
        self._after = after
        self._asking: set[tuple[int, str]] = set()
        """(thread, module) that the other finders are being asked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        asked = (get_ident(), name)
        # A finder of the user's may ask all others too; each would ask the other for ever.
        if name not in self._after or asked in self._asking:
            return None
        self._asking.add(asked)
        try:
            for finder in sys.meta_path:
                find = getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = None
                if finder is not self and find is not None:
                    spec = find(name, path, target)
                if spec is not None:
                    self._borrow(name, spec.loader)
                    return spec
        except Exception:  # noqa: BLE001 - whoever raised is asked again, by the import itself
            self._leave()
        finally:
            self._asking.discard(asked)
        return None

    def _leave(self) -> None:
        # A new list: somebody may be walking along the old one, and must not skip a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def _borrow(self, name: str, loader: Any) -> None:
        """Have `loader` tell when it has executed the module called `name`."""
        # A class that loads serves every import; one with slots takes no attribute.
        if isinstance(loader, type) or not hasattr(loader, "__dict__"):
            return
        execute = getattr(loader, "exec_module", None)
        if execute is None or "exec_module" in vars(loader):
            return

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == name:
                vars(loader).pop("exec_module", None)
                self._executed(module)

        loader.exec_module = exec_module

    def _executed(self, module: ModuleType) -> None:
        then = self._after.pop(module.__name__, None)
        if not self._after:
            self._leave()
        if then is not None:
            then(module)
