"""Checks of the preflight: the health of the GPUs, and who uses them already.

Called by `preflight` in a thread, with one look at the GPUs. A figure that a GPU does not yield is
never taken for a good one: what could not be read is named.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterable
from typing import Any

from cockpit.node.checks.checks import Check, check
from cockpit.node.checks.gpulook import TIMEOUT, Look
from cockpit.node.sensors import gpus
from cockpit.node.sensors.xids import KERNEL_LOG, XidWatch

FATAL_XIDS = frozenset(
    (48, 56, 57, 58, 62, 63, 64, 65, 68, 69, 73, 74, 79, 80, 81, 92, 94, 95, 119, 120, 140, 143)
)
"""Those after which a GPU should not train before somebody has looked, after Azure's node health
checks and NVIDIA's catalogue of Xids."""
HARMLESS_THROTTLE = frozenset(("power_cap",))
_HEALTH = ("ecc_uncorrected", "remapped_rows", "recovery_action", "throttle")
_RESET = "`nvidia-smi --gpu-reset` or a reboot; if it comes back, have the GPU replaced"

Gpu = dict[str, Any]


def health(look: Look, expected: int | None) -> list[Check]:
    """Are they all there, sound and free? `expected`: how many the profile says there are."""
    announced = gpus.count_from_driver()
    if look.sample is None:
        message = f"the GPU driver has not answered for {TIMEOUT:.0f} s"
        return [check("gpu", "crit", message, "look at dmesg there; a reboot usually helps")]
    if look.simulated:
        return [check("gpu", "ok", f"{len(look.sample.gpus)} simulated GPUs")]
    found = look.sample.gpus
    if not found:
        if announced:
            message = f"the driver announces {announced} GPUs: {look.sample.error or 'none usable'}"
            return [check("gpu", "crit", message, "`nvidia-smi` there; a reboot usually helps")]
        return [check("gpu", "ok", look.sample.error or "no GPU")]
    return [
        *_count(found, max(announced, expected or 0)),
        *_states(found),
        *_errors(found),
        *_throttling(found),
        *_links(found),
        *_users(found),
        *_blind(found),
    ]


def slow(look: Look) -> list[Check]:
    """What is no business of a single start: persistence mode, and Xids since the boot."""
    if not look.real:
        return []
    off = [index for index, mode in enumerate(look.persistent) if mode is False]
    checks = [*_xids()]
    if off:
        message = f"{numbers(off)}: persistence mode is off, so that CUDA starts slowly"
        checks.append(check("persistence", "warn", message, "`nvidia-smi -pm 1` there, as root"))
    elif None in look.persistent or not look.persistent:
        checks.append(check("persistence", "unknown", "the driver does not tell persistence mode"))
    else:
        checks.append(check("persistence", "ok", "persistence mode is on"))
    return checks


def versions(look: Look) -> dict[str, Any]:
    """Driver, model and number: "" and 0 where there is none, None where that is not known."""
    if look.simulated:
        return {"driver": "", "gpu": "", "gpus": 0}
    found = [] if look.sample is None else look.sample.gpus
    if look.sample is None or (not found and gpus.count_from_driver()):
        return {"driver": None, "gpu": None, "gpus": None}
    names = {str(gpu["name"]) for gpu in found if gpu.get("name")}
    unknown = None if found else ""
    return {
        "driver": look.sample.driver or unknown,
        "gpu": ", ".join(sorted(names)) or unknown,
        "gpus": len(found),
    }


def numbers(indices: Iterable[int]) -> str:
    """ "GPU 3", "GPUs 0-3, 7"."""
    ordered = sorted(set(indices))
    spans: list[list[int]] = []
    for index in ordered:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    words = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
    return f"GPU{'s' if len(ordered) > 1 else ''} {words}"


def _count(found: list[Gpu], expected: int) -> list[Check]:
    if len(found) < expected:
        message = f"{len(found)} GPUs answer, and there should be {expected}"
        return [check("gpu", "warn", message, "`nvidia-smi` and dmesg there")]
    # One that is lost does not tell its name any more.
    name = next((gpu["name"] for gpu in found if gpu.get("name")), "GPU")
    return [check("gpu", "ok", f"{len(found)} × {name}")]


def _states(found: list[Gpu]) -> list[Check]:
    lost = [gpu["index"] for gpu in found if gpu["state"] == "lost"]
    broken = [gpu for gpu in found if gpu["state"] == "error"]
    checks = []
    if lost:
        message = f"{numbers(lost)} lost: fallen off the bus"
        checks.append(check("gpu", "crit", message, "reboot the node; have the GPU looked at"))
    for gpu in broken:
        said = gpu.get("error") or "no figures"
        hint = "`nvidia-smi` there"
        checks.append(check("gpu", "warn", f"{numbers([gpu['index']])}: {said}", hint))
    return checks


def _errors(found: list[Gpu]) -> list[Check]:
    checks = []
    actions = {
        gpu["index"]: gpu["recovery_action"]
        for gpu in found
        if gpu.get("recovery_action") not in (None, "none")
    }
    for index, action in actions.items():
        message = f"{numbers([index])}: the driver asks for {str(action).replace('_', ' ')}"
        checks.append(check("recovery", "crit", message, "do so before anything trains there"))
    uncorrected = _which(found, lambda gpu: (gpu.get("ecc_uncorrected") or 0) > 0)
    if uncorrected:
        total = sum(found[index]["ecc_uncorrected"] for index in uncorrected)
        message = f"{numbers(uncorrected)}: {total} uncorrected memory errors since the last reset"
        checks.append(check("ecc", "warn", message, _RESET))
    failed = _which(found, lambda gpu: (gpu.get("remapped_rows") or {}).get("failed"))
    if failed:
        message = f"{numbers(failed)}: rows of broken memory could not be remapped"
        checks.append(check("remapped_rows", "crit", message, "have the GPU replaced"))
    pending = _which(found, lambda gpu: (gpu.get("remapped_rows") or {}).get("pending"))
    if pending:
        message = f"{numbers(pending)}: broken memory waits for a reset to be remapped"
        checks.append(check("remapped_rows", "warn", message, "`nvidia-smi --gpu-reset` there"))
    return checks


def _throttling(found: list[Gpu]) -> list[Check]:
    checks = []
    words = sorted({word for gpu in found for word in gpu.get("throttle") or ()})
    for word in words:
        if word in HARMLESS_THROTTLE:
            continue
        slowed = _which(found, lambda gpu: word in (gpu.get("throttle") or ()))  # noqa: B023
        message = f"{numbers(slowed)}: clocks are held down ({word.replace('_', ' ')})"
        checks.append(check("throttle", "warn", message, "look at cooling and power supply"))
    return checks


def _links(found: list[Gpu]) -> list[Check]:
    """GPUs with fewer active links than others of this node.

    Links that a machine does not use, or a card does not have, can look as those that are down;
    so nothing is a fault that is so on all GPUs.
    """
    active = {gpu["index"]: gpu["nvlink"]["active"] for gpu in found if gpu.get("nvlink")}
    most = max(active.values(), default=0)
    fewer = {index: count for index, count in active.items() if count < most}
    if not fewer:
        return []
    counts = sorted(set(fewer.values()))
    each = " each" if len(fewer) > 1 else ""
    message = (
        f"{numbers(fewer)}: {' or '.join(map(str, counts))} of {most} NVLinks are active{each}"
    )
    hint = "`nvidia-smi nvlink -s` there; is the fabric manager running?"
    return [check("nvlink", "warn", message, hint)]


def _users(found: list[Gpu]) -> list[Check]:
    """Whoever computes there already, one line per user."""
    own = _own_name()
    by_user: dict[str, list[tuple[int, Gpu]]] = {}
    for gpu in found:
        for process in gpu.get("processes") or ():
            by_user.setdefault(process.get("user") or "", []).append((gpu["index"], process))
    checks = []
    for user, using in sorted(by_user.items()):
        memory = sum(process.get("memory") or 0 for _, process in using)
        pids = {process["pid"] for _, process in using}
        jobs = sorted({process["job"] for _, process in using if process.get("job")})
        who = "you" if user == own else user or "somebody who cannot be seen from here"
        what = f" (job {', '.join(jobs)})" if jobs else f" ({using[0][1].get('command') or '?'})"
        count = f"{len(pids)} process{'es' if len(pids) > 1 else ''}"
        message = (
            f"{numbers(index for index, _ in using)} in use by {who}:"
            f" {count}, {memory / 1e9:.1f} GB{what}"
        )
        checks.append(check("gpu_users", "warn", message, "wait, ask, or use other nodes"))
    return checks


def _blind(found: list[Gpu]) -> list[Check]:
    """GPUs that tell nothing of their health, or less than their peers on this node."""
    checks = []
    sound = [gpu for gpu in found if gpu["state"] == "ok"]
    told = {name for gpu in sound for name in _HEALTH if gpu.get(name) is not None}
    if sound and not told:
        message = "these GPUs tell nothing of their health"
        return [check("gpu_health", "unknown", message, "is the driver very old?")]
    for gpu in sound:
        silent = sorted(name for name in told if gpu.get(name) is None)
        if silent:
            message = f"{numbers([gpu['index']])} does not tell {', '.join(silent)}"
            checks.append(check("gpu_health", "unknown", message.replace("_", " ")))
    return checks or [check("gpu_health", "ok", "read: " + ", ".join(sorted(told)))] * bool(sound)


def _xids() -> list[Check]:
    try:
        os.close(os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        message = f"Xids since the boot: the kernel log cannot be read ({error.strerror})"
        hint = "kernel.dmesg_restrict=0 lets this user read it"
        return [check("xid", "unknown", message, hint)]
    watch = XidWatch(history=True)
    logged = watch.logged()
    watch.close()
    newest: dict[tuple[str, int], tuple[float, str]] = {}
    for at, xid in logged:
        if xid["number"] in FATAL_XIDS:
            newest[xid["gpu"], xid["number"]] = (at, xid["message"])
    checks = []
    for (place, number), (at, message) in newest.items():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
        text = f"Xid {number} of GPU {place} at {when}: {message}"
        checks.append(check("xid", "warn", text, "reset that GPU if nobody has"))
    return checks or [check("xid", "ok", "no fatal Xid in the kernel log")]


def _which(found: list[Gpu], holds: Callable[[Gpu], Any]) -> list[int]:
    return [gpu["index"] for gpu in found if holds(gpu)]


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
