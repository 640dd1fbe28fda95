"""Macros fill in what launchers wrote and leave alone what users wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.protocol import macros

VALUES = dict.fromkeys(macros.NAMES, "value")


@given(st.text(alphabet="${}abc_nodernk0 \n"))
def test_what_a_user_wrote_comes_out_unchanged(text: str) -> None:
    assert macros.substitute(macros.escape(text), VALUES) == text
    assert macros.preview(macros.escape(text), {}) == text


def test_macros_are_replaced_inside_an_element() -> None:
    values = {"head_node_ip": "10.0.0.1", "rdzv_port": "29400"}
    text = "--rdzv-endpoint=${head_node_ip}:${rdzv_port}"
    assert macros.substitute(text, values) == "--rdzv-endpoint=10.0.0.1:29400"


def test_a_macro_without_a_value_is_named() -> None:
    with pytest.raises(KeyError, match="rdzv_port"):
        macros.substitute("${rdzv_port}", {})


def test_a_preview_leaves_open_what_is_not_known_yet() -> None:
    assert macros.preview("${node_rank} ${rdzv_port}", {"node_rank": "3"}) == "3 ${rdzv_port}"


def test_a_value_is_never_expanded_again() -> None:
    assert macros.substitute("${python}", {"python": "${node_rank}"}) == "${node_rank}"
