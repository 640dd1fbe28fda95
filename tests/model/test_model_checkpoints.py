"""What the nodes of a job tell of a checkpoint that was asked for, put together."""

from __future__ import annotations

from cockpit.model.checkpoints import words
from cockpit.model.types import Checkpoint, Job
from tests.model.building import Cluster, running


def asked(cluster: Cluster, node: int, at: float, command: str = "one", **fields: object) -> None:
    ranks = [cluster.rank(node, n) for n in range(cluster.ranks)]
    said = {"by": "ada@laptop", "generation": 0, "number": 1, "step": 1240, "ranks": ranks}
    cluster.say(node, "events", at, "checkpoint", command=command, **{**said, **fields})


def saved(cluster: Cluster, node: int, at: float, *ranks: int, command: str = "one") -> None:
    told = [{"rank": rank, "step": 1240} for rank in ranks]
    cluster.say(
        node, "events", at, "checkpoint_saved", command=command, generation=0, ranks=told
    )  # fmt: skip


def newest(job: Job) -> Checkpoint:
    assert job.checkpoint is not None
    return job.checkpoint


def test_a_job_can_make_one_as_soon_as_one_of_its_ranks_says_so() -> None:
    cluster = running()
    cluster.beats(0, 20.0, 0, {}, {})
    assert cluster.job(20.5).can_checkpoint is False
    cluster.beats(0, 21.0, 0, {}, {"checkpoint": {"step": 7, "pace": 0.5}})
    job = cluster.job(21.5)
    assert job.can_checkpoint is True
    assert [rank.checkpoint_step for rank in job.nodes[0].ranks] == [None, 7]
    assert job.nodes[0].ranks[1].checkpoint_pace == 0.5
    assert job.checkpoint is None


def test_ranks_of_all_nodes_are_counted_as_they_save() -> None:
    cluster = running()
    for node in (0, 1):
        asked(cluster, node, 30.0)
    assert words(newest(cluster.job(30.5))) == "checkpoint at step 1240: 0 of 4 ranks saved"
    saved(cluster, 1, 31.0, 3)
    saved(cluster, 0, 31.5, 0, 1)
    item = newest(cluster.job(32.0))
    assert (item.ranks, item.complete, item.void) == ((0, 1, 2, 3), False, "")
    assert words(item) == "checkpoint at step 1240: 3 of 4 ranks saved"
    saved(cluster, 1, 33.0, 2)
    item = newest(cluster.job(33.5))
    assert item.complete
    assert words(item) == "checkpoint at step 1240: saved by 4 ranks"


def test_one_that_was_taken_back_or_refused_says_why() -> None:
    cluster = running()
    asked(cluster, 0, 30.0)
    cluster.say(
        1, "events", 30.1, "checkpoint_void", command="one", generation=None, reason="too late"
    )
    item = newest(cluster.job(31.0))
    assert (item.step, item.void) == (1240, "too late")
    cluster.say(
        0, "events", 31.0, "checkpoint_void", command="back", generation=0, reason="taken back"
    )
    assert "taken back" in words(newest(cluster.job(32.0)))
    cluster.say(0, "events", 33.0, "checkpoint_void", command="x", generation=None, reason="")
    assert newest(cluster.job(34.0)).command == "one", "there was nothing to take back"


def test_the_newest_request_counts_and_a_late_word_on_an_old_one_does_not() -> None:
    cluster = running()
    for node in (0, 1):
        asked(cluster, node, 30.0)
        asked(cluster, node, 40.0, command="two", step=2000, number=2)
    saved(cluster, 0, 41.0, 0, 1)
    item = newest(cluster.job(42.0))
    assert (item.command, item.step, item.saved) == ("two", 2000, ())
