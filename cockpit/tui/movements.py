"""What actions order of the screen itself: going from view to view, marking, reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cockpit.tui.actions.base import View
from cockpit.tui.answers import Answers

if TYPE_CHECKING:
    from cockpit.tui.following import Following


class Movements(Answers):
    following: Following

    # ------------------------------------------------------------------ the views

    def show(self, view: View) -> None:
        """Go to a view; Job, Logs and Node are about what was selected."""
        self.course.about(self.job, self.node)
        self.course.show(view)

    def show_job(self, job_id: str, view: View = View.JOB) -> None:
        self.course.go(view, job_id=job_id)

    def show_node(self, key: str) -> None:
        self.course.go(View.NODE, node_key=key)

    def back(self) -> None:
        shown = self.filterable
        if shown is None or not shown.clear_filter():
            self.course.back()

    def forward(self) -> None:
        self.course.forward()

    def last_view(self) -> None:
        if self.course.last is not None:
            self.show(self.course.last)

    def freeze(self) -> None:
        self.heart.freeze()

    def next_pane(self, step: int = 1) -> None:
        panes = self.course.current.panes
        focused = self.screen_stack[0].focused
        at = panes.index(focused) if focused in panes else -1
        panes[(at + step) % len(panes)].focus()

    def open_selection(self) -> None:
        self.course.current.open_selection()

    def mark(self) -> None:
        key = self.course.current.mark_key
        if key:
            self.marks.toggle(key)
            if self.pane is not None:
                self.pane.move(1)
            self.pulse(force=True)

    def mark_range(self) -> None:
        current = self.course.current
        if current.mark_key:
            self.marks.extend(current.mark_key, current.mark_order)
            self.pulse(force=True)

    def clear_marks(self) -> None:
        self.marks.clear()
        self.pulse(force=True)

    def open_command_line(self, text: str = "") -> None:
        from cockpit.tui.widgets.commandline import CommandLine

        self.screen_stack[0].query_one(CommandLine).open(text)

    def refocus(self) -> None:
        """The keys are the view's."""
        self.course.current.main.focus()

    # ------------------------------------------------------- what the view is about

    def entered(self) -> None:
        """A view is shown, or shows something else."""
        self.follow()
        self.pulse(force=True)
        # Only now: what it shows decides which part of a view is its main one.
        self.refocus()

    def reopen_log(self) -> None:
        self.following.close()
        self.follow()

    def follow(self) -> None:
        """Have the feed of the job that is on the screen, where a log is."""
        job_id = self.course.log_of
        if job_id is not None:
            self.course.current.attach(self.following.of(job_id))

    def pulse(self, *, force: bool = False, look: bool = True) -> None:
        """Take what is new and draw what of it is visible. Cheap when nothing changed.

        Without `look`, log lines only, unless a second has passed.
        """
        self.heart.pulse(force=force, look=look)

    @property
    def pulse_rate(self) -> int:
        """Frames a second that are aimed at."""
        return self.heart.rate
