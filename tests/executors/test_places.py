"""Which address and how many ranks a node gets."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.errors import UsageError
from cockpit.executors import places
from cockpit.profiles.types import NodeSpec
from cockpit.protocol.messages import Facts, Hello


def hello(address: str) -> Hello:
    return Hello(
        protocol=1, version="", host="gpu01", user="ada", uid=1, boot_id="b", python="3.11",
        executable="", state_dir="", runtime="", pid=1, address=address, wall=0.0, mono=0.0,
    )  # fmt: skip


def facts(**changes: Any) -> Facts:
    fields: dict[str, Any] = {
        "python": "p", "python_version": "", "torch": "2", "gpus": 0, "cpus": 4, "disk_free": 1,
        "simulated": False, **changes,
    }  # fmt: skip
    return Facts(**fields)


@pytest.mark.parametrize(
    ("addr", "host", "seen", "expected"),
    [
        ("10.0.0.5", "gpu01.lab", "192.168.0.9", "10.0.0.5"),
        ("", "172.16.0.3", "192.168.0.9", "172.16.0.3"),
        ("", "fd00::7", "192.168.0.9", "fd00::7"),
        ("", "alias-of-ssh-config", "192.168.0.9", "192.168.0.9"),
        ("", "localhost", "", "127.0.0.1"),
    ],
)
def test_training_goes_to_the_profile_then_the_host_then_where_sshd_answered(
    addr: str, host: str, seen: str, expected: str
) -> None:
    spec = NodeSpec(name="n", host=host, addr=addr)
    assert places.training_address(spec, hello(seen)) == expected


@pytest.mark.parametrize(
    ("wanted", "gpus", "profile", "expected"),
    [
        (3, 8, None, 3),
        ("auto", 8, None, 8),
        ("auto", 0, None, 1),
        ("auto", 0, 4, 4),
        ("gpu", 2, None, 2),
        ("cpu", 2, None, 4),
    ],
)
def test_ranks_follow_what_was_asked_and_what_is_there(
    wanted: int | str, gpus: int, profile: int | None, expected: int
) -> None:
    spec = NodeSpec(name="n", host="h", gpus=profile)
    assert places.ranks_on_node(wanted, spec, facts(gpus=gpus)) == expected


def test_simulated_gpus_get_no_ranks() -> None:
    spec = NodeSpec(name="n", host="h")
    assert places.ranks_on_node("auto", spec, facts(gpus=8, simulated=True)) == 1


def test_one_rank_per_gpu_is_refused_where_there_is_none() -> None:
    with pytest.raises(UsageError, match="n has no GPU"):
        places.ranks_on_node("gpu", NodeSpec(name="n", host="h"), facts())
