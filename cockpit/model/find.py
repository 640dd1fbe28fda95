"""Which job a person means: by id, by name, or by the beginning of an id."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Protocol, TypeVar

from cockpit.errors import JobNotFound
from cockpit.text import clean

_MOST = 5


class Named(Protocol):
    """What a search looks at; `Job` and `JobRecord` have it."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def created_at(self) -> float: ...


_J = TypeVar("_J", bound=Named)


def find(reference: str, jobs: Iterable[_J]) -> _J:
    """The job with that id, else the newest of that name, else the one whose id begins so.

    A whole name goes before the beginning of an id, so that a job can always be meant by its
    name. Raises JobNotFound with the nearest candidates.
    """
    known = sorted(jobs, key=lambda job: (-job.created_at, job.id))
    for job in known:
        if job.id == reference:
            return job
    for job in known:
        if reference and job.name == reference:
            return job
    begun = [job for job in known if reference and job.id.startswith(reference)]
    if len(begun) == 1:
        return begun[0]
    shown = clean(reference)
    if begun:
        raise JobNotFound(
            f"{len(begun)} jobs begin with {shown!r}: {_list(begun)}", "give more of the id"
        )
    if not known:
        raise JobNotFound(f"there is no job {shown!r}: no node knows any job")
    words = [word for job in known for word in (job.name, job.id)]
    near = set(difflib.get_close_matches(reference, words, n=_MOST, cutoff=0.5))
    close = [job for job in known if job.name in near or job.id in near]
    hint = f"did you mean {_list(close)}?" if close else f"the newest are {_list(known)}"
    raise JobNotFound(f"there is no job {shown!r}", hint)


def _list(jobs: list[_J]) -> str:
    return ", ".join(f"{job.id} ({clean(job.name)})" for job in jobs[:_MOST])
