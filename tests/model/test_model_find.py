"""What a person types finds the job that they mean, or says what there is."""

from __future__ import annotations

import pytest

from cockpit.errors import JobNotFound
from cockpit.model.find import find
from tests.model.scenarios import T0, record

JOBS = [
    record(id="aa11bb22cc33", name="llama", created_at=T0),
    record(id="aa99bb22cc33", name="llama", created_at=T0 + 10),
    record(id="bb11bb22cc33", name="mnist", created_at=T0 + 5),
    record(id="dd11bb22cc33", name="bb", created_at=T0 + 1),
]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("aa11bb22cc33", "aa11bb22cc33"),
        ("aa1", "aa11bb22cc33"),
        ("llama", "aa99bb22cc33"),
        ("mnist", "bb11bb22cc33"),
        ("bb", "dd11bb22cc33"),
        ("bb1", "bb11bb22cc33"),
    ],
)
def test_an_id_a_prefix_and_a_name_find_the_job(reference: str, expected: str) -> None:
    assert find(reference, JOBS).id == expected


def test_a_prefix_of_several_jobs_names_them() -> None:
    with pytest.raises(JobNotFound) as caught:
        find("aa", JOBS)
    assert "aa11bb22cc33 (llama)" in caught.value.message
    assert "aa99bb22cc33 (llama)" in caught.value.message


def test_a_typing_error_names_the_nearest() -> None:
    with pytest.raises(JobNotFound) as caught:
        find("lama", JOBS)
    assert "did you mean" in caught.value.hint
    assert "llama" in caught.value.hint


def test_nothing_like_it_lists_the_newest() -> None:
    with pytest.raises(JobNotFound) as caught:
        find("zzzzzzzz", JOBS)
    assert caught.value.hint.startswith("the newest are aa99bb22cc33")


@pytest.mark.parametrize("reference", ["", "\x1b[2J"])
def test_an_empty_or_hostile_reference_finds_nothing_and_is_shown_clean(reference: str) -> None:
    with pytest.raises(JobNotFound) as caught:
        find(reference, JOBS)
    assert "\x1b" not in caught.value.message


def test_without_any_job_the_message_says_so() -> None:
    with pytest.raises(JobNotFound, match="no node knows any job"):
        find("x", [])
