from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.errors import UsageError
from cockpit.profiles import expand_hosts
from cockpit.profiles.hosts import MAX_HOSTS, check_proxy_jump


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("gpu01.lab", "gpu01.lab"),
        ("gpu[01-04,07].lab", "gpu01.lab gpu02.lab gpu03.lab gpu04.lab gpu07.lab"),
        ("gpu[8-11]", "gpu8 gpu9 gpu10 gpu11"),
        ("gpu[08-11]", "gpu08 gpu09 gpu10 gpu11"),
        ("gpu[0-2]", "gpu0 gpu1 gpu2"),
        ("gpu[000-002]", "gpu000 gpu001 gpu002"),
        ("gpu[3]", "gpu3"),
        ("r[1-2]n[01-02].lab", "r1n01.lab r1n02.lab r2n01.lab r2n02.lab"),
        ("10.0.0.[9-11]", "10.0.0.9 10.0.0.10 10.0.0.11"),
        ("[1-3]", "1 2 3"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_a_range_expands_in_the_order_as_written(pattern: str, hosts: str) -> None:
    assert expand_hosts(pattern) == hosts.split()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("gpu[04-01]", "runs backwards"),
        ("gpu[a-b]", "no number"),
        ("gpu[01-0]", "not padded alike"),
        ("gpu[1-010]", "not padded alike"),
        ("gpu[01-100]", "not padded alike"),
        ("gpu[]", "no number"),
        ("gpu[1,]", "no number"),
        ("gpu[-3]", "no number"),
        ("gpu[1-2-3]", "no number"),
        ("gpu[²]", "no number"),
        ("gpu[1", "do not match"),
        ("gpu1]", "do not match"),
        ("gpu[[1]]", "do not match"),
        ("gpu[1-99999]", "more than 4096"),
        ("gpu[1-64][1-65]", "more than 4096"),
        ("gpu[1-999999999999999999]", "more than 4096"),
        ("gpu[" + "9" * 5000 + "]", "no number"),
        ("", "empty"),
        ("-oProxyCommand=x", "starts with a dash"),
        ("-[1-2]", "starts with a dash"),
        ("gpu 1", "holds ' '"),
        ("gpu\n1", "control character"),
        ("gpu\x1b[1]", "control character"),
        ("gpu1,gpu2", "holds ','"),
        ("ada@gpu1", "holds a user"),
        ("gpu1:22", "holds a port"),
        ("$(id)", "holds '$'"),
        ("a;b", "holds ';'"),
        ("[::1]", "no number"),
        ("h" * 256, "longer than"),
    ],
)
def test_what_is_no_host_and_no_range_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("$", r"\$")):
        expand_hosts(pattern)


def test_a_pattern_may_stand_for_as_many_hosts_as_the_limit_says() -> None:
    assert len(expand_hosts(f"n[1-{MAX_HOSTS}]")) == MAX_HOSTS


@given(st.integers(0, 9999), st.integers(0, 300), st.integers(1, 6))
def test_an_expanded_range_counts_up_with_one_width(low: int, more: int, width: int) -> None:
    high = low + more
    width = max(width, len(str(high)))
    hosts = expand_hosts(f"n[{low:0{width}d}-{high:0{width}d}]")
    assert hosts == [f"n{n:0{width}d}" for n in range(low, high + 1)]


@given(st.text(max_size=20))
def test_whatever_comes_out_can_be_handed_to_ssh(text: str) -> None:
    try:
        hosts = expand_hosts(text)
    except UsageError:
        return
    for host in hosts:
        assert host
        assert not host.startswith("-")
        assert host.isprintable()
        assert not set(host) & set(" '\"`$\\;&<>|(){}[],@")


@pytest.mark.parametrize("jump", ["gate", "ada@gate", "ada@gate:22", "a,b@c:1", "[::1]:22"])
def test_proxy_jumps_are_written_as_for_ssh(jump: str) -> None:
    check_proxy_jump(jump)


@pytest.mark.parametrize("jump", ["", "a,,b", "-oX", "a@-oX", "gate:0", "gate:99999", "gate:x",
                                  "a b", "-l@gate", "gate:", "[::1"])  # fmt: skip
def test_bad_proxy_jumps_are_refused(jump: str) -> None:
    with pytest.raises(UsageError):
        check_proxy_jump(jump)
