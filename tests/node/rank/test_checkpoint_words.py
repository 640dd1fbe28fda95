"""`checkpoint_wanted` and `checkpoint_saved`: the supervisor's word in a rank's slot."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

import cockpit
from cockpit.node.rank import slot

REPO = str(pathlib.Path(cockpit.__file__).resolve().parents[1])


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "0.0")


@pytest.fixture
def written(path: str) -> slot.Slot:
    return slot.Slot(path, 0)


@pytest.fixture
def asker(path: str, written: slot.Slot) -> Iterator[slot.Asker]:
    asker = slot.Asker(path)
    yield asker
    asker.close()


def read(path: str) -> slot.Beat:
    reader = slot.Reader(path)
    beat = reader.read()
    reader.close()
    assert beat is not None
    return beat


def test_a_rank_tells_by_its_first_call_that_it_makes_checkpoints(
    written: slot.Slot, path: str
) -> None:
    assert not read(path).flags & slot.CHECKPOINTS
    assert written.checkpoint_wanted(7) is False
    beat = read(path)
    assert beat.flags & slot.CHECKPOINTS and beat.asked_step == 7
    assert (beat.answered, beat.saved, beat.beats) == (0, 0, 0), "it is no beat"


def test_a_request_is_told_once_at_the_first_call_from_its_step_on(
    written: slot.Slot, asker: slot.Asker, path: str
) -> None:
    asker.ask(1, 10)
    assert [step for step in range(5, 15) if written.checkpoint_wanted(step)] == [10]
    assert (read(path).answered, read(path).answered_step, read(path).saved) == (1, 10, 0)
    written.checkpoint_saved()
    assert read(path).saved == 1
    asker.ask(2, 20)
    assert [step for step in range(15, 60, 8) if written.checkpoint_wanted(step)] == [23]
    assert (read(path).answered, read(path).answered_step, read(path).saved) == (2, 23, 1)


def test_what_was_taken_back_is_not_told(written: slot.Slot, asker: slot.Asker, path: str) -> None:
    asker.ask(1, 10)
    asker.withdraw()
    assert not any(written.checkpoint_wanted(step) for step in range(20))
    written.checkpoint_saved()
    assert read(path).saved == 0, "nothing was asked for that it could have saved"


def test_without_a_step_the_steps_of_the_heartbeats_count(
    written: slot.Slot, asker: slot.Asker
) -> None:
    asker.ask(1, 3)
    told = []
    for _ in range(5):
        told.append(written.checkpoint_wanted())
        written.step()
    assert told == [False, False, False, True, False]


class Tensor:
    """Something that is a number only when it is asked."""

    def __int__(self) -> int:
        return 12


def test_any_kind_of_number_is_a_step_and_what_is_none_is_said_once(
    written: slot.Slot, asker: slot.Asker, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asker.ask(1, 10)
    for odd in ("x", None.__class__, [1]):
        assert written.checkpoint_wanted(odd) is False  # type: ignore[arg-type]
    assert capsys.readouterr().err.count("checkpoint_wanted") == 1
    assert written.checkpoint_wanted(-4) is False
    assert written.checkpoint_wanted(Tensor()) is True  # type: ignore[arg-type]
    assert read(path).answered_step == 12


def test_a_forked_child_is_no_rank_that_could_save(
    written: slot.Slot, asker: slot.Asker, path: str
) -> None:
    asker.ask(1, 1)
    child = os.fork()
    if child == 0:
        os._exit(1 if written.checkpoint_wanted(5) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(path).answered == 0
    assert written.checkpoint_wanted(5) is True


def test_a_word_from_another_process_is_read_whole_while_it_changes(
    written: slot.Slot, asker: slot.Asker, path: str
) -> None:
    # Request n is for step 1000 * n: half of one and half of another would give a pair that
    # never was.
    code = (
        f"import sys; sys.path.insert(0, {REPO!r})\n"
        "from cockpit.node.rank import slot\n"
        f"asker = slot.Asker({path!r})\n"
        "for turn in range(60):\n"
        "    for n in range(1, 1000): asker.ask(n, 1000 * n)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code])
    seen = 0
    while writer.poll() is None:
        for step in range(0, 1_000_000, 997):
            if written.checkpoint_wanted(step):
                answered = written._answered
                assert step >= 1000 * answered
                seen += 1
    assert writer.returncode == 0 and seen


def test_outside_of_a_job_nothing_is_wanted() -> None:
    assert cockpit.checkpoint_wanted(5) is False
    assert cockpit.checkpoint_wanted() is False
    assert cockpit.checkpoint_saved() is None  # type: ignore[func-returns-value]
