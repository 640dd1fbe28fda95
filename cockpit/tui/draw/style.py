"""How the app is laid out, in Textual's CSS. Colours are the theme's tokens."""

from __future__ import annotations

FRAME = """
Screen {
    layout: vertical; layers: default room;
    background: $background; color: $foreground;
}

#top, #footer { height: 1; }
#views { height: 1fr; }
#command-line { height: 2; display: none; }
#command-hint, #command-entry { height: 1; }
#command-prompt { width: 1; background: $bar; }
#command { height: 1; width: 1fr; background: $bar; }
TooSmall {
    display: none; layer: room; dock: top; width: 100%; height: 100%; background: $background;
}
Screen.-too-small > TooSmall { display: block; }

CockpitView { height: 1fr; }
"""
"""All that the first frame needs: parsing takes longer than one would think."""

REST = """
#fleet-title, #jobs-title, #logs-title { height: 1; }
#fleet-detail, #jobs-detail { height: 2; background: $bar; }
#fleet-grid, #fleet-wall, #jobs-grid { height: 1fr; }
#fleet-tools, #fleet-alerts, #fleet-events { height: 1; }
.-short #fleet-tools, .-short #fleet-events { display: none; }
#node-title { height: 1; background: $bar; }
#node-host { height: 3; }
#node-health { height: 1; }
#node-gpus { height: 3fr; }
#node-jobs, #node-link, #node-doctor { height: 1fr; min-height: 2; }
#node-jobs:focus, #node-link:focus, #node-doctor:focus { height: 2fr; }
#node-detail { height: 2; background: $bar; }
.-bare #node-host { height: 1; }
.-bare #node-gpus { height: 2; }
.-short #node-host { height: 1; }
.-short #node-detail { height: 1; }
.-short #node-gpus { height: 1fr; }
.-short #node-jobs, .-short #node-link, .-short #node-doctor { height: 1; min-height: 1; }
.-short #node-jobs:focus, .-short #node-link:focus, .-short #node-doctor:focus { height: 1fr; }

#job-header { height: 2; }
#job-cause { height: 2; }
#job-metrics { height: 1; display: none; }
#job-attempts { height: 1; }
#job-generation { height: 1; display: none; }
#job-timeline { height: 6; }
#job-summary { height: 1; background: $bar; }
#job-ranks { height: 2fr; }
#job-log { height: 3fr; border-top: solid $bar-line; }
.-short #job-header { height: 1; }
.-short #job-summary { display: none; }
.-short #job-log { border-top: none; }
.-short #fleet-detail, .-short #jobs-detail { height: 1; }

#events-title { height: 1; }
#events-grid { height: 1fr; }
#events-detail { height: 2; background: $bar; }
#debug-title { height: 4; }
#debug-links { height: 1fr; border-top: solid $bar-line; }
#debug-calls { height: 2fr; border-top: solid $bar-line; }
#debug-facts { height: 7; border-top: solid $bar-line; }
.-short #debug-links, .-short #debug-calls, .-short #debug-facts { border-top: none; }
.-short #debug-facts { height: 2; }
#events-filter, #debug-filter { height: 1; background: $bar; }

LogPane { height: 1fr; }
LogView { height: 1fr; }
LogPane Input { height: 1; background: $bar; }
FilterLine { height: 1; background: $bar; }

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
.line { height: 1; }
#heard { height: 0; }
.dialog Choices { margin-bottom: 1; }
.-short .dialog #what { margin-bottom: 0; }
.dialog #more { height: 1; display: none; color: $tone-dim; }
.-short .dialog Choices, .-short .dialog Input, .-short .dialog #outcome { margin-bottom: 0; }
ProgressDialog .dialog { width: 104; }
PlotDialog .dialog { width: 130; border: round $tone-accent; }
DescribeDialog .dialog { width: 120; border: round $tone-accent; }
DescribeDialog .dialog RowGrid { max-height: 80vh; }
StacksDialog .dialog { width: 120; border: round $tone-accent; }
StacksDialog .dialog RowGrid { max-height: 80vh; }
HelpDialog .dialog { width: 116; border: round $tone-accent; }
HelpDialog .dialog RowGrid { max-height: 80vh; }
LaunchForm { align: left top; background: $background; }
#launch-head, #launch-state { height: 1; }
#launch-body { height: 1fr; }
#launch-fields { width: 1fr; }
#launch-plan { width: 1fr; border-left: solid $bar-line; padding: 0 1; }
LaunchForm.-slim #launch-plan, LaunchForm.-narrow #launch-plan {
    display: none; border-left: none;
}
LaunchForm.-slim.-plan #launch-plan, LaunchForm.-narrow.-plan #launch-plan { display: block; }
LaunchForm.-slim.-plan #launch-fields, LaunchForm.-narrow.-plan #launch-fields { display: none; }
LaunchForm.-slim #launch-nodes, LaunchForm.-slim #launch-check { display: none; }
.launch-field Input, .launch-field Chooser, .launch-field TextArea {
    width: 1fr; height: 1; margin-left: 16;
}
.launch-field Input { background: $bar; }
.launch-field Input:focus { background: $bar; text-style: bold; }
.launch-field TextArea { width: 1fr; height: 3; background: $bar; padding: 0; border: none; }
LaunchForm .buttons Button { min-width: 0; margin-left: 1; padding: 0; }
LaunchProgress Reader { height: auto; }
ReadDialog .dialog { width: 140; border: round $tone-accent; }
ReadDialog Reader { height: 80vh; }
#profiles-title { height: 1; }
#profiles-detail { height: 2; background: $bar; }
.-short #profiles-detail { height: 1; }
.-short #profiles-tree { width: 24; }
.-short #form-help { height: 1; }
#profiles-body { height: 1fr; }
#profiles-tree { width: 30; border-right: solid $bar-line; }
#profiles-right { width: 1fr; }
#profiles-values { height: 1fr; }
.form.dialog { width: 110; border: round $tone-accent; }
#form-fields { height: auto; }
#form-file { height: 1; color: $tone-dim; }
#form-help { height: 2; color: $tone-dim; }
#form-refused { height: auto; max-height: 4; color: $state-bad; }
.form-row { height: 1; }
.form-label { width: 32; height: 1; }
.form-wrong { height: auto; margin-left: 32; color: $state-bad; }
.form-row.-wrong .form-label { color: $state-bad; }
.form-row Input { margin: 0; width: 1fr; }
.form #yes { color: $tone-accent; }
TrustDialog .dialog, TestDialog .dialog { width: 116; border: round $tone-accent; }
KindDialog .dialog { border: round $tone-accent; }
.dialog-keys { color: $tone-dim; }
"""
