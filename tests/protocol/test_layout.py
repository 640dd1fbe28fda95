"""The names that tie processes to an attempt."""

from __future__ import annotations

import pytest

from cockpit.protocol import layout


def test_a_marker_says_of_which_attempt_a_process_is() -> None:
    parts = ("0123456789ab", 11, 3)
    assert layout.parse_marker(layout.marker(*parts)) == parts


@pytest.mark.parametrize(
    "text", ["", "0123456789ab", "0123456789ab/1", "0123456789ab/1/", "0123456789ab/1/2/3",
             "0123456789ab/-1/0", "0123456789AB/1/0", "job/1/0", "0123456789ab/x/0"],
)  # fmt: skip
def test_what_is_no_marker_is_nobodys(text: str) -> None:
    assert layout.parse_marker(text) is None
