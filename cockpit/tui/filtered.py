"""A view whose rows are filtered with `/`: the filter, and the line in which it is typed."""

from __future__ import annotations

from cockpit.tui.draw.spans import Span
from cockpit.tui.sifting import Sift
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.filterline import FilterLine


class FilteredView(CockpitView):
    """Satisfies `Filterable`. `main` shows the rows; a subclass places `_line` and arranges them
    by `_sift`."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._line = FilterLine(id=f"{id}-filter")
        self._sift = Sift()

    def _arrange(self) -> None:
        """Draw anew what the filter lets through; it may be asked for before the first frame."""
        raise NotImplementedError

    @property
    def pattern(self) -> str:
        """The filter, "" without one."""
        return self._sift.pattern

    @property
    def _hides(self) -> bool:
        """Rows are left out because the person wanted it."""
        return bool(self.pattern)

    def _show_all(self) -> None:
        self.set_filter("")

    def open_filter(self) -> None:
        self._line.open(self.pattern)

    def set_filter(self, pattern: str) -> None:
        self._sift = Sift(pattern)
        self._arrange()

    def clear_filter(self) -> bool:
        was_open = self._line.close()
        hid = self._hides
        if was_open or hid:
            self._show_all()
            self.main.focus()
        return was_open or hid

    def on_filter_line_typed(self, event: FilterLine.Typed) -> None:
        event.stop()
        self.set_filter(event.pattern)

    def on_filter_line_left(self, event: FilterLine.Left) -> None:
        event.stop()
        self.main.focus()

    def _filter_spans(self) -> list[Span]:
        """The filter for a heading, and what is wrong with it."""
        spans = [Span(f"  /{self.pattern}", "accent")] if self.pattern else []
        if self._sift.error:
            spans.append(Span(f"  {self._sift.error}", "warn"))
        return spans
