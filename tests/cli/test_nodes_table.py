"""The table of nodes: true figures, marked where they are old, unknown, made up or another's."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.cli.nodes_table import counted, fitted_lines, nodes_lines
from cockpit.cli.spans import Span, bar, cut, pad, render, width_of
from cockpit.model.types import (
    Gpu,
    GpuProcess,
    GpuXid,
    Host,
    Job,
    JobNode,
    JobState,
    Link,
    LinkState,
    MigInstance,
    Node,
    NodeState,
    NvLink,
    Rank,
    RankState,
    Stage,
)

ONLINE = Link(state=LinkState.ONLINE)
GB = 1_000_000_000

FULL = Gpu(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    utilization=97.0,
    memory_used=70 * GB,
    memory_total=80 * GB,
    power=655.2,
    power_limit=700.0,
    temperature=64.0,
    sm_clock=1755,
)


def node(*gpus: Gpu, **fields: object) -> Node:
    values = {"name": "gpu01", "cluster": "lab", "link": ONLINE, "gpus": gpus, "sampled_at": 99.5,
              "health": "ok", "user": "ada"}  # fmt: skip
    return Node(**{**values, **fields})  # type: ignore[arg-type]


def job(*ranks: Rank, **fields: object) -> Job:
    where = JobNode(name="gpu01", node_rank=0, host="gpu01", addr="gpu01", link=ONLINE,
                    state=NodeState.RUNNING, ranks=ranks)  # fmt: skip
    values = {"id": "0123456789ab", "name": "llama", "state": JobState.RUNNING, "cluster": "lab",
              "launcher": "ddp", "kind": "torchrun", "command": ("train.py",), "min_nodes": 1,
              "max_nodes": 1, "attempt": 0, "restarts": 0, "max_restarts": 0, "created_at": 1.0,
              "created_by": "ada", "nodes": (where,)}  # fmt: skip
    return Job(**{**values, **fields})  # type: ignore[arg-type]


def table(*nodes: Node, jobs: tuple[Job, ...] = (), plain: bool = False) -> list[str]:
    lines = nodes_lines(nodes, jobs, 100.0, plain=plain)
    return [render(line, None, colour=False) for line in lines]


def title(*nodes: Node) -> str:
    return "".join(span.text for span in counted(nodes, 100.0))


def test_a_gpu_is_one_line_of_bars_and_figures() -> None:
    (_, line) = table(node(FULL))
    assert line == (
        "   0 H100 80GB HBM3        █████████▊  97%  ████████▊░   70.0/80.0 GB  655/700 W"
        "   64°C  1755 MHz"
    )
    assert table(node(FULL), plain=True)[1].startswith(
        "   0 H100 80GB HBM3        ##########  97%  #########-   70.0/80.0 GB"
    )


def test_a_node_tells_of_its_host_and_how_old_that_is() -> None:
    host = Host(cpus=64, cpu_percent=12.4, load1=1.5, memory_used=16 * GB, memory_total=256 * GB,
                disk_free=1200 * GB, network_in=5e6, network_out=1e3, temperature=45.0,
                blocked=3)  # fmt: skip
    (line,) = table(node(host=host, driver="570.86", cuda="12.8"))
    assert line == (
        "lab/gpu01  online  ok  0.5 s ago"
        "  cpu 12% of 64 · load 1.5 · mem 16.0/256.0 GB · disk 1.2 TB free"
        " · net in 5.0 MB/s out 1.0 kB/s · 45°C · 3 blocked · driver 570.86, CUDA 12.8"
    )


def test_how_old_figures_are_is_seen_on_a_narrow_terminal() -> None:
    host = Host(cpus=64, cpu_percent=12.4, load1=1.5, memory_used=16 * GB, memory_total=256 * GB,
                disk_free=1200 * GB, network_in=5e6, network_out=1e3)  # fmt: skip
    for age, words in ((0.5, "0.5 s ago"), (14.0, "stale, 14 s old")):
        lines = nodes_lines([node(host=host, sampled_at=100.0 - age)], (), 100.0)
        shown = render(lines[0], 60, colour=False)
        assert f"lab/gpu01  online  ok  {words}" in shown


def test_the_title_counts_those_online_and_those_whose_figures_are_old() -> None:
    fresh, silent = node(), node(sampled_at=86.0)
    gone = node(link=Link(state=LinkState.UNREACHABLE, why="timed out"))
    new = node(sampled_at=None)
    assert title(fresh, new) == "2/2 nodes online"
    assert title(fresh, silent) == "2/2 nodes online, 1 stale"
    assert title(fresh, gone) == "1/2 nodes online, 1 stale"


def test_the_title_counts_nodes_in_trouble_and_is_not_green_then() -> None:
    ill, warned = node(health="crit"), node(health="warn")
    spans = counted([node(), ill, warned, warned], 100.0)
    assert "".join(span.text for span in spans) == ("4/4 nodes online, 1 critical, 2 with warnings")
    assert Span("1 critical", "bad") in spans
    assert Span("2 with warnings", "warn") in spans


LOST = Gpu(index=3, name="NVIDIA H100", state="lost")


def fitted(rows: int, *nodes: Node) -> list[str]:
    lines = fitted_lines(nodes, (), 100.0, rows)
    return [render(line, 60, colour=False) for line in lines]


def test_on_a_small_screen_a_critical_node_stands_first_and_healthy_ones_take_a_line() -> None:
    well = node(FULL, FULL, FULL, FULL, name="gpu02")
    ill = node(FULL, LOST, name="gpu09", health="crit", health_reasons=("gpu 3: GPU is lost",))
    assert [line.split()[0] for line in fitted(20, well, ill)] == [
        "lab/gpu09", "✖", "0", "3", "lab/gpu02", "0", "0", "0", "0",
    ]  # fmt: skip
    shown = fitted(6, well, ill)
    assert shown[:2] == ["lab/gpu09  online  crit  0.5 s ago", "  ✖ gpu 3: GPU is lost"]
    assert "LOST" in shown[3]
    assert shown[4] == "lab/gpu02  online  ok  0.5 s ago  4 GPUs not shown"
    assert fitted(3, well, ill) == [
        "lab/gpu09  online  crit  0.5 s ago  2 GPUs not shown",
        "  ✖ gpu 3: GPU is lost",
        "lab/gpu02  online  ok  0.5 s ago  4 GPUs not shown",
    ]


def test_nodes_in_trouble_stand_in_the_order_of_their_trouble() -> None:
    nodes = (
        node(name="well"),
        node(name="warned", health="warn"),
        node(name="silent", sampled_at=50.0),
        node(name="gone", link=Link(state=LinkState.UNREACHABLE, why="timed out")),
        node(name="ill", health="crit"),
    )
    assert [line.split()[0] for line in fitted(9, *nodes)] == [
        "lab/ill", "lab/gone", "lab/warned", "lab/silent", "lab/well",
    ]  # fmt: skip


def test_what_is_unknown_is_not_zero() -> None:
    line = table(node(Gpu(index=3)))[1]
    assert line.split() == ["3", "?", "··········", "n/a", "··········", "n/a", "n/a", "n/a", "n/a"]
    assert "0" not in line


def test_reasons_come_under_the_node_and_a_lost_gpu_has_no_figures() -> None:
    lost = Gpu(index=1, name="NVIDIA H100", state="lost", error="GPU is lost",
               xids=(GpuXid(number=79), GpuXid(number=79)))  # fmt: skip
    sick = Gpu(index=2, state="error", error="Insufficient Permissions")
    head, reason, first, second = table(
        node(lost, sick, health="crit", health_reasons=("gpu 1: lost",))
    )
    assert "crit" in head
    assert reason == "  ✖ gpu 1: lost"
    assert first.split() == ["1", "H100", "LOST", "Xid", "79"]
    assert second.endswith("ERROR: Insufficient Permissions")
    red = render(
        nodes_lines([node(lost, health="crit", health_reasons=("gpu 1: lost",))], (), 100.0)[1],
        None,
        colour=True,
    )
    assert "\x1b[31m" in red


def test_old_figures_say_so_and_lose_their_colours() -> None:
    gone = Link(state=LinkState.UNREACHABLE, why="timed out", hint="is it on?")
    hot = Gpu(index=0, temperature=91.0)
    head, hint, _ = table(node(hot, link=gone, sampled_at=30.0))
    assert head.startswith("lab/gpu01  unreachable: timed out  ok  stale, 70 s old")
    assert hint == "  hint: is it on?"
    for where in ({"link": gone}, {"sampled_at": 30.0}):
        lines = nodes_lines([node(hot, **where)], (), 100.0)
        assert {span.style for span in lines[-1]} == {"dim"}
    assert "warn" in {span.style for span in nodes_lines([node(hot)], (), 100.0)[-1]}


def test_a_node_that_never_told_anything_shows_no_figure() -> None:
    assert table(node(sampled_at=None)) == ["lab/gpu01  online  no sample yet"]


def test_a_driver_that_does_not_answer_and_a_node_without_gpus_say_why() -> None:
    assert table(node(gpu_error="no NVIDIA driver on this node"))[1] == (
        "  no GPU figures: no NVIDIA driver on this node"
    )
    stalled = node(
        gpu_error="telemetry stalled for 7 s", gpu_stalled=7.0, health="crit",
        health_reasons=("telemetry stalled for 7 s",),
    )  # fmt: skip
    assert table(stalled)[1:] == ["  ✖ telemetry stalled for 7 s"]


def test_made_up_figures_say_so() -> None:
    assert "simulated GPUs" in table(node(FULL, simulated=True))[0]


@pytest.mark.parametrize(
    ("rank", "text"),
    [
        ({"stage": Stage.TRAINING, "step": 120}, "llama r3 training step 120 69.0 GB"),
        ({"stage": Stage.STARTING}, "llama r3 starting 69.0 GB"),
        ({"stage": Stage.SILENT, "step": 9, "beat_age": 45.2},
         "llama r3 SILENT 45 s at step 9 69.0 GB"),
        ({"stage": Stage.NONE}, "llama r3 69.0 GB"),
        ({"stage": Stage.TRAINING, "step": 1, "straggler": True},
         "llama r3 training step 1 straggler 69.0 GB"),
    ],
)  # fmt: skip
def test_a_rank_of_ours_is_told_with_its_job_and_stage(rank: dict[str, object], text: str) -> None:
    process = GpuProcess(pid=42, user="ada", memory=69 * GB, command="python", job="0123456789ab")
    ours = Rank(rank=3, local_rank=0, pid=42, state=RankState.RUNNING, **rank)  # type: ignore[arg-type]
    gpu = Gpu(index=0, processes=(process,))
    assert table(node(gpu), jobs=(job(ours),))[1].endswith(f"  {text}")
    elsewhere = table(node(gpu, cluster="prod"), jobs=(job(ours, id="ba9876543210"),))[1]
    assert "llama" not in elsewhere


def test_other_users_are_marked_and_many_are_counted() -> None:
    processes = (
        GpuProcess(pid=1, user="ada", memory=GB, command="python a.py"),
        GpuProcess(pid=2, user="bob", memory=2 * GB, command="python b.py"),
        GpuProcess(pid=3, memory=None),
        GpuProcess(pid=4, user="ada", job="0123456789ab"),
        *(GpuProcess(pid=pid, user="ada") for pid in range(5, 8)),
    )
    line = table(node(Gpu(index=0, processes=processes)), jobs=(job(),))[1]
    assert line.partition("  ada:1")[2] == (
        " python a.py 1.0 GB, !bob:2 python b.py 2.0 GB, !hidden:3 n/a, llama ada:4 n/a, 3 more"
    )


def test_what_is_out_of_the_ordinary_is_in_the_line() -> None:
    gpu = Gpu(
        index=0,
        throttle=("hw_thermal", "power_cap"),
        ecc_uncorrected=2,
        nvlink=NvLink(active=18, total=18, tx=1.2e11, rx=1e9, errors=0),
        slow_age=33.0,
        mig=(MigInstance(index=0, name="MIG 1g.10gb", memory_used=4 * GB, memory_total=10 * GB),),
    )
    line, instance = table(node(gpu))[1:]
    assert "hw_thermal power_cap ECC 2" in line
    assert "nvlink tx 120.0 GB/s rx 1.0 GB/s" in line
    assert "users as of 33 s ago" in line
    assert instance.split() == ["MIG", "1g.10gb", "████░░░░░░", "4.0/10.0", "GB"]


def test_no_nodes_is_said() -> None:
    assert table() == ["no nodes: name a cluster in cockpit.toml"]


@given(st.lists(st.text(st.characters(exclude_categories=("C",)))), st.integers(0, 30))
def test_a_line_never_takes_more_columns_than_there_are(texts: list[str], columns: int) -> None:
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    text = render([Span(text) for text in texts], columns, colour=False)
    assert width_of(text) <= columns


@given(st.text(st.characters(exclude_categories=("C",))), st.integers(0, 30))
def test_padded_text_has_exactly_its_width(text: str, columns: int) -> None:
    assert width_of(pad(text, columns)) == columns
    assert width_of(cut(text, columns)) <= columns


@pytest.mark.parametrize(
    ("share", "fancy", "plain"),
    [
        (0.0, "░░░░", "----"),
        (0.5, "██░░", "##--"),
        (1.0, "████", "####"),
        (7.0, "████", "####"),
        (None, "····", "...."),
        (0.03125, "▏░░░", "----"),
    ],
)
def test_bars(share: float | None, fancy: str, plain: str) -> None:
    assert bar(share, 4) == fancy
    assert bar(share, 4, plain=True) == plain
