"""What `cockpit stacks` prints for people."""

from __future__ import annotations

from cockpit.cli.stacks import lines
from cockpit.model import stacks
from cockpit.model.stacks import Missing, NodeStacks, RankStacks, StackReport, Thread
from cockpit.model.stackwords import Frame

TORCH = "/opt/lib/python3.11/site-packages/torch/"


def report() -> StackReport:
    waits = (
        Frame(f"{TORCH}distributed/distributed_c10d.py", 3219, "all_reduce"),
        Frame("train.py", 9, "main"),
    )
    recursion = (*[Frame("tree.py", 5, "walk")] * 40, Frame("tree.py", 0, "<module>"))

    def rank(number: int, *others: Thread) -> RankStacks:
        main = Thread(name="MainThread", main=True, frames=recursion if number == 1 else waits)
        return RankStacks(
            rank=number, local_rank=number, node="n0", node_rank=0, pid=number,
            threads=(main, *others),
        )  # fmt: skip

    ranks = (rank(0), rank(1, Thread(name="pin", main=False)), rank(2))
    answer = NodeStacks(node="n0", node_rank=0, taken_at=0.0, generation=0, ranks=ranks)
    return stacks.report([answer], [Missing(node="n1", error="no route")], taken_at=0.0)


def test_groups_are_printed_with_their_stacks_and_what_is_missing() -> None:
    summary, taken, *rest = lines(report(), all_threads=False)
    assert summary == "rank 1 (n0) is in tree.py:5 walk, 2 others in all_reduce; n1: no route"
    assert taken.startswith("taken at 19")
    assert rest == [
        "",
        "rank 1 (n0): tree.py:5 walk",
        "  > tree.py:5  walk (× 40)",
        "  > tree.py:?  <module>",
        "",
        "ranks 0, 2 (n0): all_reduce (train.py:9 main)",
        "    torch/distributed/distributed_c10d.py:3219  all_reduce",
        "  > train.py:9                                  main",
        "",
        "no stacks:",
        "  n1: no route",
    ]


def test_other_threads_are_printed_when_asked_for() -> None:
    text = list(lines(report(), all_threads=True))
    where = text.index("1 thread 'pin' of rank 1 (n0):")
    assert text[where + 1] == "    no Python code"
    assert not any("pin" in line for line in lines(report(), all_threads=False))
