"""Stacks of many ranks: reading what nodes answer, grouping, and the words for people."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model import stacks
from cockpit.model.stacks import Missing, RankStacks, StackReport, Thread
from cockpit.model.stackwords import Frame, Owner, describe, locate

TORCH = "/opt/venv/lib/python3.11/site-packages/torch/"
STDLIB = "/usr/lib/python3.11/"


def frames(*calls: str) -> tuple[Frame, ...]:
    """Innermost first, each "file:line function"."""
    found = []
    for call in calls:
        place, _, function = call.rpartition(" ")
        file, _, line = place.rpartition(":")
        found.append(Frame(file, int(line), function))
    return tuple(found)


MAIN = ("train.py:33 main", "train.py:40 <module>")
BACKWARD = frames(
    f"{TORCH}autograd/graph.py:979 _engine_run_backward",
    f"{TORCH}autograd/__init__.py:395 backward",
    f"{TORCH}_tensor.py:623 backward",
    *MAIN,
)
ALL_REDUCE = frames(
    f"{TORCH}distributed/distributed_c10d.py:3219 all_reduce",
    f"{TORCH}distributed/c10d_logger.py:83 wrapper",
    *MAIN,
)
READ_SHARD = frames(
    "data.py:41 read_shard",
    "data.py:50 __getitem__",
    f"{TORCH}utils/data/_utils/fetch.py:54 fetch",
    f"{TORCH}utils/data/dataloader.py:785 _next_data",
    f"{TORCH}utils/data/dataloader.py:725 __next__",
    *MAIN,
)
LOADER = frames(
    f"{STDLIB}selectors.py:415 select",
    f"{STDLIB}multiprocessing/queues.py:113 get",
    f"{TORCH}utils/data/dataloader.py:1291 _try_get_data",
    f"{TORCH}utils/data/dataloader.py:725 __next__",
    *MAIN,
)


def rank(number: int | None, stack: tuple[Frame, ...], **fields: Any) -> RankStacks:
    """A rank of two per node, whose main thread has `stack`."""
    node = 0 if number is None else number // 2
    values: dict[str, Any] = {
        "rank": number,
        "local_rank": 0 if number is None else number % 2,
        "node": f"node{node}",
        "node_rank": node,
        "pid": 1000 + (number or 0),
        "how": "signal",
        "threads": (Thread(name="MainThread", main=True, frames=stack),),
        **fields,
    }
    return RankStacks(**values)


def report(*ranks: RankStacks, missing: tuple[Missing, ...] = ()) -> StackReport:
    nodes: dict[str, list[RankStacks]] = {}
    for item in ranks:
        nodes.setdefault(item.node, []).append(item)
    answers = [
        stacks.NodeStacks(
            node=name,
            node_rank=items[0].node_rank,
            taken_at=5.0,
            generation=0,
            ranks=tuple(items),
        )
        for name, items in nodes.items()
    ]
    return stacks.report(answers, missing, taken_at=5.0)


# Words


@pytest.mark.parametrize(
    ("stack", "short", "long"),
    [
        (BACKWARD, "backward", "backward (train.py:33 main)"),
        (ALL_REDUCE, "all_reduce", "all_reduce (train.py:33 main)"),
        (READ_SHARD, "data.py:41 read_shard", "data.py:41 read_shard"),
        (LOADER, "DataLoader next", "DataLoader next (train.py:33 main)"),
        (frames("train.py:3 f"), "train.py:3 f", "train.py:3 f"),
        (frames("<string>:1 <module>"), "<string>:1 <module>", "<string>:1 <module>"),
        (frames(f"{STDLIB}socket.py:706 readinto"),) + ("socket.py:706 readinto",) * 2,
        ((), "no Python code", "no Python code"),
        (
            frames(
                f"{TORCH}distributed/distributed_c10d.py:5284 barrier",
                f"{TORCH}distributed/fsdp/_flat_param.py:1440 _all_gather_flat_param",
                f"{TORCH}nn/modules/module.py:1700 _call_impl",
                f"{TORCH}nn/modules/linear.py:100 forward",
                f"{TORCH}nn/parallel/distributed.py:1600 forward",
                *MAIN,
            ),
            "forward → all_gather → barrier",
            "forward → all_gather → barrier (train.py:33 main)",
        ),
        (
            # Without any code of the user, what torch does still counts.
            frames(f"{TORCH}distributed/distributed_c10d.py:9 _store_based_barrier"),
            "barrier",
            "barrier",
        ),
    ],
)
def test_a_stack_is_said_in_words(stack: tuple[Frame, ...], short: str, long: str) -> None:
    words = describe(stack)
    assert (words.short, words.long) == (short, long)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        ("all_gather_into_tensor", "all_gather"),
        ("_reduce_scatter_base", "reduce_scatter"),
        ("reduce", "reduce"),
        ("broadcast_object_list", "broadcast"),
        ("monitored_barrier", "barrier"),
        ("init_process_group", "init_process_group"),
        ("_get_default_group", ""),
        ("receive", ""),
    ],
)
def test_collectives_go_by_their_names(function: str, word: str) -> None:
    stack = frames(f"{TORCH}distributed/distributed_c10d.py:1 {function}", *MAIN)
    assert describe(stack).short == (word or "train.py:33 main")


def test_a_function_of_the_users_own_is_never_taken_for_one_of_torch() -> None:
    assert describe(frames("/home/ada/comm.py:7 all_reduce", *MAIN)).short == "comm.py:7 all_reduce"


@pytest.mark.parametrize(
    ("file", "owner", "short"),
    [
        ("/home/ada/.cockpit/jobs/0123456789ab/work/src/train.py", Owner.USER, "src/train.py"),
        ("/data/train.py", Owner.USER, "/data/train.py"),
        ("<stdin>", Owner.USER, "<stdin>"),
        ("<frozen importlib._bootstrap>", Owner.STANDARD, "<frozen importlib._bootstrap>"),
        (f"{STDLIB}threading.py", Owner.STANDARD, "threading.py"),
        ("/opt/conda/lib/python3.13t/queue.py", Owner.STANDARD, "queue.py"),
        (f"{TORCH}_tensor.py", Owner.TORCH, "torch/_tensor.py"),
        ("/src/pytorch/torch/_tensor.py", Owner.TORCH, "torch/_tensor.py"),
        ("/usr/lib/python3/dist-packages/numpy/core.py", Owner.LIBRARY, "numpy/core.py"),
        ("/h/runtime/" + "a" * 64 + "/cockpit/__init__.py", Owner.LIBRARY, "cockpit/__init__.py"),
        ("/src/cockpit/node/rank/torchhooks.py", Owner.LIBRARY, "cockpit/node/rank/torchhooks.py"),
    ],
)
def test_a_file_belongs_to_whom_its_path_says(file: str, owner: Owner, short: str) -> None:
    assert locate(file) == (owner, short)


# Groups


def test_the_one_that_differs_comes_first_and_the_summary_says_where_everybody_is() -> None:
    found = report(*(rank(n, READ_SHARD if n == 3 else BACKWARD) for n in range(8)))
    assert [[r.rank for r in group.ranks] for group in found.groups] == [[3], [0, 1, 2, 4, 5, 6, 7]]
    assert found.summary == "rank 3 (node1) is in data.py:41 read_shard, 7 others in backward"
    assert found.groups[0].summary == "rank 3 (node1) in data.py:41 read_shard"
    assert found.groups[1].summary == "7 ranks in backward (train.py:33 main)"
    assert found.groups[1].listed == "ranks 0-2, 4-7 (node0, node1, node2, node3)"
    assert found.groups[1].nodes == ("node0", "node1", "node2", "node3")


@pytest.mark.parametrize(
    ("stacks_of", "summary"),
    [
        ([BACKWARD], "rank 0 (node0) is in backward"),
        ([BACKWARD] * 4, "all 4 ranks are in backward"),
        ([BACKWARD, LOADER], "rank 1 (node0) is in DataLoader next, rank 0 (node0) in backward"),
        (
            [LOADER, LOADER, BACKWARD, BACKWARD],
            "ranks 0 and 1 are in DataLoader next, 2 others in backward",
        ),
        (
            [LOADER, READ_SHARD, BACKWARD, BACKWARD],
            "rank 0 (node0) is in DataLoader next, rank 1 (node0) in data.py:41 read_shard,"
            " 2 others in backward",
        ),
        (
            [frames(f"a.py:{n} f") for n in range(1, 5)] + [BACKWARD] * 9,
            "rank 0 (node0) is in a.py:1 f, rank 1 (node0) in a.py:2 f,"
            " 2 ranks in 2 other places, 9 others in backward",
        ),
        ([], "no stacks"),
    ],
)
def test_the_summary_names_few_groups_and_counts_the_rest(
    stacks_of: list[tuple[Frame, ...]], summary: str
) -> None:
    assert report(*(rank(n, stack) for n, stack in enumerate(stacks_of))).summary == summary


def test_other_lines_inside_of_libraries_are_one_place_for_the_summary_only() -> None:
    def later(stack: tuple[Frame, ...], by: int) -> tuple[Frame, ...]:
        return (Frame(stack[0].file, stack[0].line + by, stack[0].function), *stack[1:])

    found = report(rank(0, LOADER), rank(1, later(LOADER, 1)), rank(2, READ_SHARD))
    assert len(found.groups) == 3
    assert found.summary == (
        "rank 2 (node1) is in data.py:41 read_shard, 2 others in DataLoader next"
    )
    apart = report(rank(0, READ_SHARD), rank(1, later(READ_SHARD, 1)))
    assert apart.summary == (
        "rank 0 (node0) is in data.py:41 read_shard, rank 1 (node0) in data.py:42 read_shard"
    )


def test_equal_code_in_different_folders_of_two_nodes_is_equal() -> None:
    def on(home: str) -> tuple[Frame, ...]:
        return frames(
            f"{home}/lib/python3.11/site-packages/torch/_tensor.py:623 backward",
            f"{home}/.cockpit/jobs/0123456789ab/work/train.py:3 <module>",
        )

    found = report(rank(0, on("/home/ada")), rank(2, on("/users/ada")))
    assert len(found.groups) == 1
    assert found.summary == "all 2 ranks are in backward"


def test_ranks_and_nodes_without_stacks_are_named_with_the_reason() -> None:
    found = report(
        *(rank(n, BACKWARD) for n in range(3)),
        rank(3, (), threads=(), error="it is stopped (SIGSTOP)"),
        missing=(Missing(node="node7", error="connection refused"),),
    )
    assert [item.name for item in found.missing] == ["rank 3 (node1)", "node7"]
    assert found.summary == (
        "all 3 ranks are in backward; rank 3 (node1): it is stopped (SIGSTOP);"
        " node7: connection refused"
    )
    gone = tuple(Missing(node=f"n{n}", error="down") for n in range(9))
    text = report(missing=gone).summary
    assert text.startswith("no stacks; n0: down; ")
    assert text.endswith("; no stacks of 6 more")


def test_processes_without_rank_go_by_their_pid() -> None:
    found = report(rank(None, BACKWARD, pid=77), rank(None, BACKWARD, pid=78))
    assert found.groups[0].listed == "pids 77-78 (node0)"
    assert report(rank(None, LOADER, pid=77)).summary == "pid 77 (node0) is in DataLoader next"


def test_other_threads_are_grouped_by_name_and_stack_across_ranks() -> None:
    def threads(number: int) -> tuple[Thread, ...]:
        feeder = Thread(name="QueueFeeder", main=False, frames=LOADER)
        main = Thread(name="MainThread", main=True, frames=BACKWARD)
        odd = (Thread(name="", main=False, frames=READ_SHARD),) if number == 1 else ()
        return (main, feeder, feeder, *odd)

    found = report(*(rank(n, BACKWARD, threads=threads(n)) for n in range(3)))
    assert [other.summary for other in found.others] == [
        "1 thread of rank 1 (node0)",
        "6 threads 'QueueFeeder' of ranks 0-2 (node0, node1)",
    ]


STACKS = st.sampled_from(
    [BACKWARD, ALL_REDUCE, READ_SHARD, LOADER, (), frames("a.py:1 f"), frames("a.py:2 f")]
)


@given(st.lists(STACKS, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_answers_changes_nothing(
    given_stacks: list[tuple[Frame, ...]], order: random.Random
) -> None:
    ranks = [rank(n, stack) for n, stack in enumerate(given_stacks)]
    shuffled = ranks.copy()
    order.shuffle(shuffled)
    found = report(*ranks)
    assert report(*shuffled) == found
    members = [r.rank for group in found.groups for r in group.ranks]
    assert sorted(r for r in members if r is not None) == list(range(len(ranks)))
    sizes = [(group.words.waits, len(group.ranks)) for group in found.groups]
    assert sizes == sorted(sizes)
    assert len({tuple(g.stack) for g in found.groups}) == len(found.groups)


@given(st.lists(st.integers(0, 60)))
def test_ranges_of_numbers_name_each_number_once(numbers: list[int]) -> None:
    spelled: list[int] = []
    for part in filter(None, stacks.ranges(numbers).split(", ")):
        first, _, last = part.partition("-")
        spelled += range(int(first), int(last or first) + 1)
    assert spelled == sorted(set(numbers))


# What nodes answer


def answer(**fields: Any) -> dict[str, Any]:
    frame = {"file": "train.py", "line": 3, "function": "main", **fields.pop("frame", {})}
    thread = {"name": "MainThread", "main": True, "frames": [frame], **fields.pop("thread", {})}
    ranks = [{"rank": 0, "local_rank": 0, "pid": 7, "how": "signal", "error": "",
              "threads": [thread], **fields.pop("rank", {})}]  # fmt: skip
    return {"taken_at": 5.0, "generation": 0, "ranks": ranks, **fields}


def test_what_a_node_answers_and_what_it_keeps_reads_the_same() -> None:
    value = answer()
    found = stacks.read("node1", 1, value)
    assert found == stacks.read("node1", 1, json.dumps({**value, "reason": "stall"}).encode())
    (only,) = found.ranks
    assert (only.node, only.node_rank, only.pid, only.stack) == (
        "node1", 1, 7, (Frame("train.py", 3, "main"),),
    )  # fmt: skip


def test_no_text_of_a_node_reaches_a_terminal_as_it_is() -> None:
    hostile = "a\x1b]0;x\x07\x1b[2Jb\r\nc\u202e\x00" + "x" * 5000
    value = answer(
        frame={"file": hostile, "function": hostile},
        thread={"name": hostile},
        rank={"how": hostile},
    )
    silent = answer(rank={"threads": [], "error": hostile, "rank": 1})["ranks"]
    value["ranks"] += silent
    found = stacks.report([stacks.read("node1", 1, value)], taken_at=5.0)
    text = json.dumps(stacks.document(found, all_threads=True), ensure_ascii=False)
    for item in (text, found.summary, *(group.summary for group in found.groups)):
        assert item.isprintable()
    (frame,) = found.groups[0].stack
    assert len(frame.file) <= stacks.MAX_TEXT
    assert len(found.missing[0].error) <= stacks.MAX_ERROR


def test_a_node_that_answers_too_much_is_cut() -> None:
    frame = {"file": "a.py", "line": 1, "function": "f"}
    threads = [{"name": "t", "main": n == 499, "frames": [frame] * 500} for n in range(500)]
    (only,) = stacks.read("node1", 0, answer(rank={"threads": threads})).ranks
    assert len(only.threads) <= stacks.MAX_THREADS
    assert all(len(thread.frames) <= stacks.MAX_FRAMES for thread in only.threads)


@pytest.mark.parametrize(
    "value",
    [{}, {"ranks": 3}, answer(rank={"pid": "seven"}), answer(frame={"line": None}), b"", b"[]"],
)
def test_nonsense_is_refused_with_the_nodes_name(value: Any) -> None:
    with pytest.raises(ValueError, match="node1"):
        stacks.read("node1", 0, value)


def test_the_document_has_groups_and_what_is_missing() -> None:
    extra = Thread(name="loader", main=False, frames=LOADER)
    both = (Thread(name="MainThread", main=True, frames=READ_SHARD), extra)
    found = report(
        rank(0, BACKWARD),
        rank(1, READ_SHARD, threads=both),
        rank(2, BACKWARD),
        missing=(Missing(node="node9", error="down"),),
    )
    document = stacks.document(found, all_threads=True)
    assert document["schema"] == 1
    assert document["taken_at"] == "1970-01-01T00:00:05.000+00:00"
    assert [group["ranks"] for group in document["groups"]] == [[1], [0, 2]]
    assert document["groups"][1]["nodes"] == ["node0", "node1"]
    assert document["groups"][0]["stack"][0] == {
        "file": "data.py",
        "line": 41,
        "function": "read_shard",
    }
    assert document["missing"] == [{"rank": None, "node": "node9", "pid": None, "error": "down"}]
    assert [thread["name"] for thread in document["threads"]] == ["loader"]
    assert "threads" not in stacks.document(found)
    assert document["summary"] == found.summary


# -- imports ---------------------------------------------------------------------------------------

MACHINERY = (
    "<frozen importlib._bootstrap_external>:1013 get_code",
    "<frozen importlib._bootstrap>:1360 _find_and_load",
)
NUMPY = "/opt/venv/lib/python3.11/site-packages/numpy/"


def importing(*inside: str) -> tuple[Frame, ...]:
    return frames(*inside, f"{NUMPY}__init__.py:130 <module>", "train.py:8 <module>")


def test_frames_of_the_import_machinery_are_no_part_of_a_stack() -> None:
    said = [{"file": f.file, "line": f.line, "function": f.function}
            for f in frames(*MACHINERY, "train.py:8 <module>")]  # fmt: skip
    thread = {"name": "MainThread", "main": True, "frames": said}
    rank = {"rank": 0, "local_rank": 0, "pid": 1, "how": "signal", "error": "", "threads": [thread]}
    answer = {"taken_at": 1.0, "generation": 0, "ranks": [rank]}
    (found,) = stacks.read("n", 0, answer).ranks
    assert found.stack == frames("train.py:8 <module>")


def test_ranks_inside_of_one_import_are_one_group_named_by_it() -> None:
    deep = importing(f"{NUMPY}core/multiarray.py:5 <module>", f"{NUMPY}core/__init__.py:9 <module>")
    found = report(rank(0, importing()), rank(1, deep), rank(2, frames("train.py:40 main")))
    assert found.summary == "rank 2 (node1) is in train.py:40 main, 2 others in importing numpy"
    group = found.groups[1]
    assert group.words.long == "importing numpy (train.py:8 <module>)"
    assert group.stack == importing()
    two = f"{NUMPY}core/__init__.py:9 <module>"
    assert describe(frames(two, "lib.py:2 <module>")).short == "importing numpy.core"


def test_a_module_of_the_users_own_is_named_by_its_line() -> None:
    assert describe(frames("lib.py:2 <module>", "train.py:8 <module>")).short == "lib.py:2 <module>"


# -- ranks that were not silent --------------------------------------------------------------------


def test_ranks_put_aside_come_last_and_never_head_the_summary() -> None:
    gone = frames(f"{STDLIB}threading.py:1590 _shutdown")
    answer = stacks.NodeStacks(
        node="node0", node_rank=0, taken_at=5.0, generation=0,
        ranks=(rank(0, gone), rank(2, BACKWARD), rank(3, BACKWARD)),
    )  # fmt: skip
    found = stacks.report(
        [answer], taken_at=5.0, aside=lambda rank: "has ended its script" if not rank.rank else ""
    )
    assert found.summary == "2 ranks are in backward; rank 0 (node0) has ended its script"
    assert [group.aside for group in found.groups] == ["", "has ended its script"]
    assert stacks.document(found)["groups"][1]["aside"] == "has ended its script"
