"""The option names of three versions of ft_launcher, as `get_args_parser` of each has them."""

from __future__ import annotations

import json
import pathlib

KNOWN = {
    version: frozenset(names)
    for version, names in json.loads(
        pathlib.Path(__file__).with_name("ft_options.json").read_text()
    ).items()
}
"""By version."""
