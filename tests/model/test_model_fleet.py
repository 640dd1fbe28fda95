"""Nodes and jobs in one snapshot; hostile samples harm nothing; unchanged things cost nothing."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model import samples
from cockpit.model.fleet import FleetModel
from cockpit.model.jobs import JobModel
from cockpit.model.types import GpuProcess, Link, LinkState
from tests.model.scenarios import ONLINE, T0, journals, model, record

SAMPLE = {
    "at": T0,
    "mono": 5.0,
    "simulated": False,
    "host": {
        "cpus": 64, "load1": 1.5, "cpu_percent": 12.5, "memory_used": 1 << 34,
        "memory_total": 1 << 38, "disk_free": 10, "disk_total": 20, "uptime": 99.5,
    },
    "gpus": [
        {
            "index": 0, "name": "NVIDIA H100", "uuid": "GPU-1", "state": "ok", "utilization": 97,
            "memory_used": 70 << 30, "memory_total": 80 << 30, "power": 650.5,
            "power_limit": 700.0, "temperature": 61, "sm_clock": 1980,
            "processes": [{"pid": 4242, "user": "ada", "memory": 69 << 30}],
        },
        {"index": 1, "state": "lost"},
    ],
    "gpu_error": "",
}  # fmt: skip


def test_a_sample_becomes_typed_figures() -> None:
    for payload in (SAMPLE, json.dumps(SAMPLE).encode()):
        sample = samples.decode(payload)
        assert sample.host is not None
        assert (sample.host.cpus, sample.host.load1) == (64, 1.5)
        gpu = sample.gpus[0]
        assert (gpu.utilization, gpu.power, gpu.name) == (97.0, 650.5, "NVIDIA H100")
        assert gpu.processes == (GpuProcess(pid=4242, user="ada", memory=69 << 30),)
        assert (sample.gpus[1].state, sample.gpus[1].power) == ("lost", None)
        assert (sample.at, sample.simulated) == (T0, False)


def test_one_bad_figure_costs_only_itself() -> None:
    gpu = {
        "index": 0,
        "name": "H\x1b]0;x\x07100",
        "utilization": "full",
        "power": float("nan"),
        "memory_used": -1,
        "temperature": True,
        "state": "on fire",
        "sm_clock": 1980,
        "processes": [{"pid": "x"}, {"pid": 7, "user": "e\u202eve", "memory": []}, 3],
    }
    sample = samples.decode(SAMPLE | {"gpus": [gpu, "no gpu", {"name": "no index"}]})
    assert sample.host is not None and sample.host.cpus == 64
    (got,) = sample.gpus
    assert (got.name, got.state, got.sm_clock) == ("H100", "error", 1980)
    assert (got.utilization, got.power, got.memory_used, got.temperature) == (None,) * 4
    assert got.processes == (GpuProcess(pid=7, user="eve", memory=None),)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'"x"',
        {},
        {"host": 3},
        {"gpus": {"index": 0}},
        [1],
        None,
    ],
)
def test_a_sample_that_is_none_gives_no_figures(payload: object) -> None:
    assert samples.decode(payload) == samples.Sample()  # type: ignore[arg-type]


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("index", "name", "pid", "user", "processes", "power", "state")), inner
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(SAMPLE)), _JUNK))
def test_no_sample_whatever_breaks_the_model_or_lets_control_characters_in(
    payload: dict[str, object],
) -> None:
    sample = samples.decode(SAMPLE | payload)
    words = [sample.gpu_error]
    for gpu in sample.gpus:
        words += [gpu.name, gpu.uuid, gpu.state, *(process.user for process in gpu.processes)]
        for figure in (gpu.power, gpu.utilization, gpu.temperature, gpu.memory_used):
            assert figure is None or -1e15 <= figure <= 2**62
    assert all(word.isprintable() for word in words)


def fleet() -> FleetModel:
    result = FleetModel(clock=lambda: T0)
    result.node("gpu01", "lab", ONLINE)
    return result


def test_nodes_keep_their_order_and_their_figures_when_the_link_goes() -> None:
    model = fleet()
    model.node("gpu02", "lab", Link())
    model.sample("gpu01", "lab", SAMPLE, 50.0)
    gone = Link(state=LinkState.UNREACHABLE, why="no route to host")
    model.node("gpu01", "lab", gone)
    first, second = model.snapshot().nodes
    assert (first.name, first.link, first.sampled_at) == ("gpu01", gone, 50.0)
    assert len(first.gpus) == 2
    assert (second.name, second.host, second.sampled_at) == ("gpu02", None, None)


def test_nodes_of_the_same_name_in_two_clusters_are_two_nodes() -> None:
    model = fleet()
    model.node("gpu01", "prod", Link())
    model.sample("gpu01", "prod", SAMPLE, 1.0)
    assert [(node.cluster, len(node.gpus)) for node in model.snapshot().nodes] == [
        ("lab", 0),
        ("prod", 2),
    ]


def test_a_sample_of_an_unknown_node_is_ignored() -> None:
    model = fleet()
    before = model.snapshot()
    model.sample("elsewhere", "lab", SAMPLE, 1.0)
    assert model.snapshot() is before


def test_the_snapshot_is_the_same_object_until_something_changes() -> None:
    model = fleet()
    first = model.snapshot()
    model.node("gpu01", "lab", ONLINE)
    assert model.snapshot() is first
    model.sample("gpu01", "lab", SAMPLE, 1.0)
    second = model.snapshot()
    assert second.revision > first.revision
    assert model.snapshot() is second


def test_jobs_come_newest_first_and_their_changes_are_seen_without_being_told() -> None:
    result = fleet()
    old = model("success")
    new = JobModel(record(id="f" * 12, created_at=T0 + 5.0))
    result.job(old)
    result.job(new)
    before = result.snapshot()
    assert [job.id for job in before.jobs] == [new.record.id, old.record.id]
    where = (0, 0, "events")
    old.feed(*where, 0, journals("success")[where])
    after = result.snapshot()
    assert after.revision > before.revision
    assert after.jobs[0] is before.jobs[0]
    assert after.jobs[1].nodes[0].state.value == "succeeded"
    result.remove_job(new.record.id)
    assert [job.id for job in result.snapshot().jobs] == [old.record.id]


def test_a_hundred_nodes_at_ten_samples_a_second_cost_a_small_part_of_a_core() -> None:
    """Relative to decoding the same samples as plain JSON with the standard library."""
    payload = json.dumps(SAMPLE | {"gpus": [SAMPLE["gpus"][0] | {"index": n} for n in range(8)]})  # type: ignore[index]
    data = payload.encode()
    result = FleetModel(clock=lambda: T0)
    for number in range(128):
        result.node(f"gpu{number}", "lab", ONLINE)

    def ours() -> float:
        started = time.perf_counter()
        for number in range(128):
            result.sample(f"gpu{number}", "lab", data, float(number))
        result.snapshot()
        return time.perf_counter() - started

    def plain() -> float:
        started = time.perf_counter()
        for _ in range(128):
            json.loads(data)
        return time.perf_counter() - started

    assert min(ours() for _ in range(5)) < 4 * min(plain() for _ in range(5))
