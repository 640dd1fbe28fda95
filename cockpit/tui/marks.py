"""What is marked: nodes by `node_key`, jobs by id. Pure; the app owns one."""

from __future__ import annotations

from collections.abc import Sequence


class Marks:
    """A set that remembers where the last mark was, for ranges."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._last = ""

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._keys)

    def toggle(self, key: str) -> None:
        if key in self._keys:
            self._keys.discard(key)
        else:
            self._keys.add(key)
        self._last = key

    def extend(self, key: str, order: Sequence[str]) -> None:
        """Mark everything from the last mark to `key`, in the order of the rows on the screen."""
        if self._last not in order or key not in order:
            self.toggle(key)
            return
        start, stop = sorted((order.index(self._last), order.index(key)))
        self._keys.update(order[start : stop + 1])
        self._last = key

    def clear(self) -> None:
        self._keys.clear()
        self._last = ""

    def keep(self, known: frozenset[str]) -> None:
        """Forget marks of what is gone."""
        self._keys &= known
        if self._last not in known:
            self._last = ""
