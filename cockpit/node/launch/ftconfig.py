"""The configuration that ft_launcher reads: cockpit's file, and the user's over it.

Called by the instrumented launcher process in the job's own Python, whose YAML library (which
nvidia-resiliency-ext needs too) reads the user's file; cockpit's own is JSON. Options beat both.
"""

from __future__ import annotations

import json
import os
from typing import Any

SECTION = "fault_tolerance"
USERS = "ft.user.yaml"
"""Beside cockpit's file, where the profile names one."""
MERGED = "ft.merged.yaml"


def prepare(path: str) -> tuple[str, dict[str, Any]]:
    """The file to hand to ft_launcher for cockpit's at `path`, and the section in it.

    Raises ValueError in words for people where the user's file cannot be used.
    """
    with open(path, encoding="utf-8") as file:
        section: dict[str, Any] = json.load(file)[SECTION]
    folder = os.path.dirname(path)
    try:
        with open(os.path.join(folder, USERS), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return path, section
    merged = {**section, **users_section(text)}
    target = os.path.join(folder, MERGED)
    with open(target, "w", encoding="utf-8") as file:
        json.dump({SECTION: merged}, file, indent=1, default=str)
    return target, merged


def users_section(text: str) -> dict[str, Any]:
    """The section of the user's file, at whatever depth. Raises ValueError without one."""
    import yaml  # type: ignore[import-untyped, unused-ignore]  # only in the job's Python

    try:
        found = find(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"the file of cfg_path is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"the file of cfg_path has no section {SECTION}, or it is no table")  # noqa: TRY004 - a wrong file, not a wrong type
    return {str(key): value for key, value in found.items()}


def find(data: Any) -> Any:
    """The value of the first key `fault_tolerance`, as ft_launcher looks for it; None without."""
    if isinstance(data, dict):
        if SECTION in data:
            return data[SECTION]
        parts = list(data.values())
    else:
        parts = data if isinstance(data, list) else []
    for part in parts:
        found = find(part)
        if found:
            return found
    return None
