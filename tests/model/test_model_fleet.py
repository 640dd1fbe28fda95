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
from cockpit.model.store import Seen
from cockpit.model.types import GpuProcess, GpuXid, Link, LinkState, NvLink, RemappedRows
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


FULL_GPU = {
    "index": 0, "name": "NVIDIA H100", "uuid": "GPU-1", "state": "ok", "error": "",
    "memory_utilization": 41, "memory_temperature": 78, "sm_clock_max": 1980,
    "throttle": ["power_cap"], "ecc_uncorrected": 1, "ecc_uncorrected_total": 2,
    "remapped_rows": {"correctable": 1, "uncorrectable": 0, "pending": True, "failed": False},
    "recovery_action": "none",
    "nvlink": {"active": 17, "total": 18, "tx": 1.5, "rx": 2, "errors": 3},
    "pcie": {"gen": 5, "width": 16}, "slow_age": 33.5,
    "processes": [{"pid": 1, "user": "ada", "memory": 5, "command": "python x", "job": "0123"}],
    "xids": [{"number": 79, "at": T0}],
    "mig": [{"index": 0, "name": "MIG 1g", "uuid": "MIG-1", "memory_used": 1, "memory_total": 2}],
}  # fmt: skip
FULL = SAMPLE | {"gpus": [FULL_GPU], "driver": "570", "cuda": "12.8", "user": "ada"}


def test_every_figure_of_a_gpu_is_typed() -> None:
    (gpu,) = samples.decode(FULL).gpus
    assert gpu.nvlink == NvLink(active=17, total=18, tx=1.5, rx=2.0, errors=3)
    assert gpu.remapped_rows == RemappedRows(
        correctable=1, uncorrectable=0, pending=True, failed=False
    )
    assert gpu.processes[0] == GpuProcess(
        pid=1, user="ada", memory=5, command="python x", job="0123"
    )
    assert gpu.xids == (GpuXid(number=79, at=T0),)
    assert gpu.mig[0].name == "MIG 1g"
    assert (gpu.throttle, gpu.recovery_action, gpu.slow_age) == (("power_cap",), "none", 33.5)


def test_what_is_saved_of_a_damaged_sample_is_the_same_as_of_a_sound_one() -> None:
    damaged = samples.decode(FULL | {"simulated": "perhaps"})
    assert damaged == samples.decode(FULL)
    assert damaged.gpus[0].nvlink is not None


def test_hostile_parts_of_a_gpu_cost_only_themselves() -> None:
    bad = FULL_GPU | {
        "throttle": ["power\x1b[2J_cap", 3, *["x"] * 100],
        "nvlink": {"active": -1, "total": "all", "tx": 5},
        "remapped_rows": [1, 2],
        "xids": [{"number": -1}, {"number": 48}, *[{"number": 1}] * 1000],
        "mig": [{"name": "no index"}, {"index": 1, "name": "a\u202eb"}],
        "processes": [{"pid": 1, "command": "x" * 10_000, "job": "\x00"}],
        "recovery_action": "\x07" * 10,
        "pcie": None,
    }
    (gpu,) = samples.decode(FULL | {"gpus": [bad]}).gpus
    assert gpu.throttle is not None
    assert (gpu.throttle[:2], len(gpu.throttle) <= 16) == (("power_cap", "x"), True)
    assert gpu.nvlink == NvLink(tx=5.0)
    assert (gpu.remapped_rows, gpu.pcie, gpu.ecc_uncorrected) == (None, None, 1)
    assert (gpu.xids[0].number, len(gpu.xids) <= 64) == (48, True)
    assert [instance.name for instance in gpu.mig] == ["ab"]
    assert (len(gpu.processes[0].command), gpu.processes[0].job) == (256, "")
    assert gpu.recovery_action == ""


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
        | st.dictionaries(st.sampled_from((*sorted(FULL_GPU), "pid", "number", "command")), inner)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(sorted(FULL)), _JUNK),
    st.dictionaries(st.sampled_from(sorted(FULL_GPU)), _JUNK),
)
def test_no_sample_whatever_breaks_the_model_or_lets_control_characters_in(
    payload: dict[str, object], parts: dict[str, object]
) -> None:
    model = fleet()
    for hostile in (FULL | payload, FULL | {"gpus": [FULL_GPU | parts]}):
        sample = samples.decode(hostile)
        for gpu in sample.gpus:
            for figure in (gpu.power, gpu.utilization, gpu.temperature, gpu.memory_used):
                assert figure is None or -1e15 <= figure <= 2**62
        assert all(word.isprintable() for word in samples._words(sample))
        model.sample("gpu01", "lab", hostile, 1.0)
        assert all(reason.isprintable() for reason in model.snapshot().nodes[0].health_reasons)


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


def test_of_the_samples_between_two_snapshots_only_the_newest_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded = []
    decode = samples.decode
    monkeypatch.setattr(samples, "decode", lambda found: decoded.append(found) or decode(found))
    model = fleet()
    for number in range(5):
        model.sample("gpu01", "lab", SAMPLE, float(number))
    assert model.snapshot().nodes[0].sampled_at == 4.0
    assert model.snapshot() is model.snapshot()
    assert len(decoded) == 1
    model.sample("gpu01", "lab", SAMPLE, 5.0)
    model.remove_node("gpu01", "lab")
    assert model.snapshot().nodes == ()


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


def test_remembered_jobs_are_shown_as_last_seen_until_a_node_lists_them() -> None:
    result = fleet()
    listed = model("success")
    kept = JobModel(record(id="e" * 12, created_at=T0 - 500.0)).snapshot(T0)
    old = listed.snapshot(T0)
    result.recall([Seen(job=kept, seen_at=T0 - 60.0), Seen(job=old, seen_at=T0 - 70.0)])
    shown = result.snapshot()
    assert {job.id: job.seen_at for job in shown.jobs} == {kept.id: T0 - 60.0, old.id: T0 - 70.0}
    assert result.snapshot() is shown
    result.job(listed)
    found = result.snapshot()
    assert [(job.id, job.seen_at) for job in found.jobs] == [(old.id, None), (kept.id, T0 - 60.0)]
    result.remove_job(kept.id)
    assert [job.id for job in result.snapshot().jobs] == [old.id]


def test_a_hundred_nodes_at_ten_samples_a_second_cost_a_small_part_of_a_core() -> None:
    """Relative to decoding the same samples as plain JSON with the standard library."""
    payload = json.dumps(SAMPLE | {"gpus": [SAMPLE["gpus"][0] | {"index": n} for n in range(8)]})  # type: ignore[index]
    data = payload.encode()
    result = FleetModel(clock=lambda: T0)
    for number in range(128):
        result.node(f"gpu{number}", "lab", ONLINE)

    def ours() -> float:
        started = time.process_time()
        for number in range(128):
            result.sample(f"gpu{number}", "lab", data, float(number))
        result.snapshot()
        return time.process_time() - started

    def plain() -> float:
        started = time.process_time()
        for _ in range(128):
            json.loads(data)
        return time.process_time() - started

    assert min(ours() for _ in range(5)) < 4 * min(plain() for _ in range(5))
