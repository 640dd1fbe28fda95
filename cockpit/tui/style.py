"""How the app is laid out, in Textual's CSS. Colours are the theme's tokens."""

from __future__ import annotations

CSS = """
Screen { layout: vertical; background: $background; color: $foreground; }

#top, #footer { height: 1; }
#views { height: 1fr; }
#too-small { display: none; height: 1fr; content-align: center middle; }
Screen.-too-small #views, Screen.-too-small #top, Screen.-too-small #footer { display: none; }
Screen.-too-small #too-small { display: block; }

CockpitView { height: 1fr; }
#fleet-title, #jobs-title, #logs-title { height: 1; }
#fleet-detail, #jobs-detail { height: 2; background: $bar; }
#fleet-grid, #jobs-grid { height: 1fr; }

#job-header { height: 2; }
#job-cause { height: 2; }
#job-metrics { height: 1; display: none; }
#job-timeline { height: 6; border-top: solid $bar-line; }
#job-ranks { height: 2fr; border-top: solid $bar-line; }
#job-log { height: 3fr; border-top: solid $bar-line; }
.-short #job-header { height: 1; }
.-short #job-timeline { height: 2; border-top: none; }
.-short #job-ranks, .-short #job-log { border-top: none; }
.-short #fleet-detail, .-short #jobs-detail { height: 1; }

LogPane { height: 1fr; }
LogView { height: 1fr; }
LogPane Input { height: 1; background: $bar; }

ModalScreen { align: center middle; background: $background 60%; }
.dialog {
    width: 84; max-width: 96%; height: auto; max-height: 94%;
    background: $surface; border: round $state-warn; padding: 0 1;
}
.dialog-title { text-style: bold; color: $tone-title; }
.dialog RowGrid { max-height: 60vh; }
.dialog #what { height: auto; max-height: 40vh; margin-bottom: 1; }
.dialog #outcome { height: auto; margin-bottom: 1; }
.dialog Input { height: 1; margin-bottom: 1; background: $bar; }
.buttons { height: 1; align-horizontal: right; }
.buttons Button {
    margin-left: 2; height: 1; min-width: 12; border: none !important;
    background: $bar; color: $foreground;
}
.buttons Button:focus { text-style: bold reverse; }
.buttons #yes { color: $state-bad; }
.buttons #yes:disabled { color: $tone-dim; text-style: dim; }
StacksDialog .dialog { width: 120; border: round $tone-accent; }
StacksDialog RowGrid { max-height: 80vh; }
HelpDialog .dialog { border: round $tone-accent; }
HelpDialog RowGrid { max-height: 80vh; }
"""
