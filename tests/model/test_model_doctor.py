"""Findings that only show when nodes are compared, and the verdict over all of them."""

from __future__ import annotations

import pytest

from cockpit.model.doctor import (
    Bandwidth,
    Deep,
    Finding,
    Level,
    Versions,
    clocks,
    differences,
    document,
    reference_clock,
    verdict,
)


def finding(level: Level, node: str = "a") -> Finding:
    return Finding(node=node, check="disk", level=level, message="m", hint="h")


def blamed(found: list[Finding]) -> dict[tuple[str, str], Level]:
    return {(item.node, item.check): item.level for item in found}


def nodes(**torch: str) -> dict[str, Versions]:
    return {name: Versions(python="3.11.7", torch=value) for name, value in torch.items()}


def test_the_node_that_is_not_like_most_is_named_and_the_others_are_not() -> None:
    found = differences(nodes(a="2.6.0", b="2.5.1", c="2.6.0"), needs=("torch",))
    assert blamed(found) == {("b", "torch"): Level.CRIT}
    assert found[0].message == "torch 2.5.1, but 2.6.0 on a, c"
    assert found[0].hint


def test_of_two_nodes_the_first_is_right() -> None:
    assert blamed(differences(nodes(a="2.6.0", b="2.7.0"))) == {("b", "torch"): Level.WARN}


@pytest.mark.parametrize(
    ("other", "needs", "level"),
    [
        ("2.6.1", ("torch",), Level.WARN),
        ("2.6.0+cu124", ("torch",), Level.WARN),
        ("2.60.0", ("torch",), Level.CRIT),
        ("3.6.0", ("torch",), Level.CRIT),
        ("2.7.0", (), Level.WARN),
    ],
)
def test_another_minor_version_of_torch_is_critical_where_it_is_needed(
    other: str, needs: tuple[str, ...], level: Level
) -> None:
    found = differences(nodes(a="2.6.0", b=other), needs=needs)
    assert blamed(found) == {("b", "torch"): level}


def test_any_difference_of_nvrx_is_critical_for_the_launcher_that_needs_it() -> None:
    versions = {"a": Versions(nvrx="0.7.0"), "b": Versions(nvrx="0.7.1"), "c": Versions(nvrx="")}
    assert blamed(differences(versions, needs=("torch", "nvrx"))) == {
        ("b", "nvrx"): Level.CRIT,
        ("c", "nvrx"): Level.CRIT,
    }
    assert set(blamed(differences(versions)).values()) == {Level.WARN}


def test_patches_of_python_and_what_is_unknown_are_no_difference() -> None:
    versions = {
        "a": Versions(python="3.11.7", nccl="2.27.5", gpus=8),
        "b": Versions(python="3.11.9", nccl=None, gpus=None),
    }
    assert differences(versions) == []


def test_what_is_unknown_is_neither_absent_nor_a_vote() -> None:
    known = Versions(python="3.11.7", torch="2.6.0", cuda="12.8", nvrx="0.4.1", driver="570.86",
                     gpu="NVIDIA H100", gpus=4, infiniband="8 × 400 Gb/sec")  # fmt: skip
    assert differences({"wedged": Versions(), "broken": Versions(), "a": known}) == []
    # Of nothing known the first is not right: there is nobody to be unlike.
    assert blamed(differences({"wedged": Versions(), "b": Versions(driver=""), "a": known})) == {
        ("a", "driver"): Level.WARN
    }


def test_without_a_rendezvous_no_clock_is_critical_and_torch_is_not_named() -> None:
    (_, found, _) = clocks({"a": 0.0, "b": -42.0, "c": 0.0}, 10.0, rendezvous=False)
    assert found.level is Level.WARN
    assert found.message == "its clock is 42 s behind the other clocks"
    assert found.hint == "run chrony or ntp there"


def test_a_clock_that_joins_is_held_against_those_that_run() -> None:
    (found,) = clocks({"c": 15.0}, 10.0, reference=0.0)
    assert (found.level, found.message) == (
        Level.CRIT, "its clock is 15 s ahead of the other clocks",
    )  # fmt: skip
    assert clocks({"c": 600.0}, 10.0, reference=600.1)[0].level is Level.WARN


def test_a_node_without_what_the_others_have_is_told_so() -> None:
    versions = {
        "a": Versions(driver="550.54", gpu="NVIDIA H100", gpus=8),
        "b": Versions(driver="550.54", gpu="NVIDIA H100", gpus=8),
        "c": Versions(driver="", gpu="", gpus=0),
    }
    found = {item.check: item.message for item in differences(versions)}
    assert found["driver"] == "no NVIDIA driver, but 550.54 on a, b"
    assert found["gpus"] == "number of GPUs 0, but 8 on a, b"


def test_a_long_list_of_nodes_is_cut() -> None:
    versions = nodes(**{f"n{i}": "2.6.0" for i in range(9)}, odd="2.5.0")
    (found,) = differences(versions)
    assert found.message == "torch 2.5.0, but 2.6.0 on n0, n1, n2 and 6 more"


@pytest.mark.parametrize(
    ("offset", "level"),
    [(0.004, Level.OK), (-0.9, Level.OK), (1.2, Level.WARN), (-9.0, Level.WARN),
     (-42.0, Level.CRIT)],
)  # fmt: skip
def test_a_skewed_clock_is_judged_by_how_far_it_is_from_the_others(
    offset: float, level: Level
) -> None:
    found = {item.node: item for item in clocks({"a": 0.0, "b": offset, "c": 0.001}, 10.0)}
    assert found["b"].level is level
    assert (found["a"].level, found["c"].level) == (Level.OK, Level.OK)
    if level is Level.CRIT:
        assert found["b"].message == "its clock is 42 s behind the other clocks"
        assert "chrony" in found["b"].hint


def test_clocks_that_agree_with_each_other_and_not_with_ours_are_no_obstacle() -> None:
    found = clocks({"a": 600.0, "b": 600.2, "c": 600.1}, 10.0)
    assert {item.level for item in found} == {Level.WARN}
    assert found[0].message == "its clock is 600 s off from this machine's"


def test_this_machine_has_a_vote_between_two_clocks() -> None:
    assert reference_clock({"a": 0.01, "b": -42.0}) == 0.0
    assert reference_clock({"a": 600.0}) == 600.0
    assert reference_clock({}) == 0.0


def test_the_worst_finding_decides_and_not_knowing_is_worse_than_being_well() -> None:
    levels = [Level.OK, Level.UNKNOWN, Level.WARN, Level.CRIT]
    codes = [verdict(map(finding, levels[: n + 1])).exit_code for n in range(4)]
    assert codes == [0, 3, 1, 2]
    assert verdict([]) is Level.OK


def test_the_document_holds_every_check_and_the_bandwidths_only_when_they_were_measured() -> None:
    assert document([finding(Level.WARN)]) == {
        "schema": 1,
        "checks": [
            {
                "cluster": "",
                "node": "a",
                "check": "disk",
                "level": "warn",
                "message": "m",
                "hint": "h",
            }
        ],
    }
    result = Bandwidth(size=4, seconds=2.0, algorithm=2.0, bus=2.0, world=2, backend="gloo")
    run = Deep(cluster="lab", backend="gloo", nodes=("a", "b"), results=(result,))
    assert document([], [run])["deep"][0]["results"][0]["bus"] == 2.0


def test_the_summary_of_a_node_names_what_it_has() -> None:
    versions = Versions(python="3.11.7", torch="2.6.0", gpus=8, gpu="NVIDIA H100", driver="550.54")
    assert versions.summary == "Python 3.11.7, torch 2.6.0, 8 × NVIDIA H100, driver 550.54"
    assert Versions(python="", torch="").summary == "no Python, no torch"
    assert Versions().summary == "Python unknown, torch unknown"
