"""The base of every hot widget: rows of spans, drawn through Textual's line API.

A subclass says what its rows are; this class turns them into strips, keeps those that did not
change and asks for a repaint of the others only. All text passes `clean` here once more, so no
control character reaches the terminal whatever a row holds. It never scrolls by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region, Size
from textual.strip import Strip

from cockpit.text import clean
from cockpit.tui.draw.spans import Line, Span, fit, join, width_of
from cockpit.tui.draw.tones import style_of
from cockpit.tui.rows import RowWidget
from cockpit.tui.terminal import MainScreen


class LineWidget(RowWidget):
    """Rows of spans in the widget's content area. Subclasses implement `lines`."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._rows: Sequence[Line] = ()
        self._strips: list[Strip] = []
        self._drawn = Size(0, 0)
        self._styles: dict[tuple[str, str], Style] = {}
        self._backdrop: Color | None = None

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """The rows to show now, at most `height`; missing ones are blank. Cheap, no I/O."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Ask for the rows again and repaint those that are different."""
        size = self.size
        width, height = size
        if not width or not height:
            return
        rows = self.lines(width, height)[:height]
        if len(rows) < height:
            rows = [*rows, *([Line()] * (height - len(rows)))]
        if size != self._drawn:
            self._drawn = size
            self._strips = [self._strip(row, width) for row in rows]
            self._rows = rows
            self._repaint()
            return
        changed = []
        for y, (old, new) in enumerate(zip(self._rows, rows, strict=False)):
            if old != new:
                self._strips[y] = self._strip(new, width)
                changed.append(Region(0, y, width, 1))
        self._rows = rows
        if len(changed) * 2 > height:
            self._repaint()
        elif changed:
            self._repaint(*changed)

    def _repaint(self, *regions: Region) -> None:
        """Have these regions drawn, or all of it; at once where nothing stands above it."""
        screen = self.screen
        if isinstance(screen, MainScreen):
            screen.repaint(self, *regions)
        else:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        if self.size != self._drawn:
            self.redraw()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips as they are, without the steps that only borders and padding need."""
        size = self.size
        if self.outer_size != size:
            return super().render_lines(crop)
        if size != self._drawn:
            self.redraw()
        strips = self._strips[crop.y : crop.bottom]
        filters = self._filters_to_do()
        if filters:
            background = self._backdrop
            if background is None:
                background = self._backdrop = self.background_colors[1]
            for each in filters:
                strips = [strip.apply_filter(each, background) for strip in strips]
        if crop.x or crop.width != size.width:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips

    def _filters_to_do(self) -> Sequence[LineFilter]:
        """What strips go through each time they are drawn; see `Widget.get_line_filters`."""
        return self.get_line_filters()

    @property
    def text_lines(self) -> list[str]:
        """What is shown, as plain text; for tests and dumps."""
        return [strip.text.rstrip() for strip in self._strips]

    def on_resize(self) -> None:
        self.redraw()

    def on_show(self) -> None:
        self.redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._backdrop = None
        self._drawn = Size(0, 0)

    def _style(self, tone: str, base: str) -> Style:
        style = self._styles.get((tone, base))
        if style is None:
            tokens = self.app.theme_variables
            style = self.rich_style + style_of(tone, tokens) + style_of(base, tokens)
            self._styles[tone, base] = style
        return style

    def _strip(self, row: Line, width: int) -> Strip:
        segments = [
            Segment(
                span.text if span.text.isprintable() else clean(span.text),
                self._style(span.tone, row.base),
            )
            for span in row.spans
            if span.text
        ]
        strip = Strip(segments).simplify()
        return strip.adjust_cell_length(width, self._style("", row.base))


class Lines(LineWidget):
    """A widget that shows what it was last told, for headers and status rows."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._shown: Sequence[Line] = ()
        self._right: Sequence[Span] = ()

    def show(self, *rows: Line, right: Sequence[Span] = ()) -> None:
        """Show these rows; of `right` what there is room for goes to the end of the first one."""
        self._shown = rows
        self._right = right
        self.redraw()

    def lines(self, width: int, height: int) -> Sequence[Line]:  # noqa: ARG002
        rows = [
            Line(fit(row.spans, width), row.base) if width_of(row.spans) > width else row
            for row in self._shown
        ]
        if rows and self._right:
            room = width - width_of(rows[0].spans) - 1
            right: tuple[Span, ...] = ()
            for count in range(len(self._right), 0, -1):
                parts = [(part,) for part in self._right[:count]]
                right = (*join(parts, Span(" · ", "dim")), Span(" "))
                if width_of(right) <= room:
                    rows[0] = Line((*rows[0].spans, *fit(right, room + 1, "right")), rows[0].base)
                    break
        return rows
