"""Which keys of a launcher go together: what a kind knows nothing of is an error, not silence.

Called by `assembly` for each merged launcher; problems go to the document that sets the key.
"""

from __future__ import annotations

from typing import Any

from cockpit.profiles.merging import Profile, Setting
from cockpit.profiles.values import INVALID

ONLY_FT = frozenset(
    {
        "cfg_path",
        "finished_flag_file",
        "job_results_file",
        "log_level",
        "rank_out_of_section_timeout",
        "rank_section_timeouts",
        "rank_termination_signal",
    }
)
HEARTBEATS = frozenset(
    {
        "count_stall_restarts",
        "initial_rank_heartbeat_timeout",
        "instrument",
        "max_stall_restarts",
        "on_stall",
        "rank_heartbeat_timeout",
        "workload_check_interval",
    }
)
RENDEZVOUS = frozenset(
    {"join_timeout", "monitor_interval", "rdzv_backend", "rdzv_conf", "rdzv_id", "rdzv_port"}
)


def check_launcher(profile: Profile) -> None:
    """Report the settings of a launcher that contradict its kind or each other."""
    kind = profile.value("kind", "torchrun")
    if kind is INVALID:
        return
    if kind != "ft":
        _refuse(profile, ONLY_FT, "only launchers of kind ft know it", 'set kind = "ft"')
    if kind == "command":
        hint = 'use a launcher of kind "torchrun" or "ft", or remove the key'
        _refuse(profile, HEARTBEATS, "nothing beats under the kind command", hint)
        _refuse(profile, RENDEZVOUS, "the kind command has no rendezvous and no ranks", hint)
        return
    if profile.value("instrument", default=True) is False:
        _check_plain(profile, kind)
    if profile.value("rdzv_backend", "c10d") == "static":
        _check_static(profile, kind)


def _check_plain(profile: Profile, kind: str) -> None:
    """Nothing beats, so cockpit itself can neither see a stall nor act on one."""
    hint = "remove instrument = false, or this key"
    action = profile.settings.get("on_stall")
    if action is not None and action.value not in (INVALID, "warn"):
        action.report("nothing beats with instrument = false, so no stall is seen", hint)
    stalls = {"count_stall_restarts", "max_stall_restarts"}
    _refuse(profile, stalls, "nothing beats with instrument = false, so no stall is seen", hint)
    if kind != "ft":  # There the rank monitors know these limits by themselves.
        limits = HEARTBEATS - stalls - {"instrument", "on_stall"}
        _refuse(profile, limits, "nothing beats with instrument = false", hint)


def _check_static(profile: Profile, kind: str) -> None:
    backend = profile.settings["rdzv_backend"]
    if kind == "ft":
        backend.report("ft_launcher restarts ranks through its own c10d rendezvous", "remove it")
    hint = 'remove it, or use rdzv_backend = "c10d"'
    _refuse(profile, {"rdzv_conf"}, "a static rendezvous reads none of these", hint)


def _refuse(profile: Profile, keys: frozenset[str] | set[str], message: str, hint: str) -> None:
    for key in sorted(keys):
        setting: Setting | None = profile.settings.get(key)
        if setting is not None:
            setting.report(message, hint)
        entries: dict[str, Any] = profile.entries.get(key, {})
        if entries:
            next(iter(entries.values())).report(message, hint)
