"""However bytes arrive, the same truth comes out."""

from __future__ import annotations

import json
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from cockpit.model.jobs import JobModel
from cockpit.model.ranges import Ranges
from tests.model.building import running
from tests.model.scenarios import NAMES, ONLINE, T0, Where, fold, journals, model, plan

SETTINGS = settings(max_examples=60, deadline=None)
NOW = T0 + 1000.0
FINAL = {name: fold(name) for name in NAMES}
FEEDS = {name: journals(name) for name in NAMES}


@SETTINGS
@given(st.sampled_from(NAMES), st.integers(0, 2**32))
def test_any_interleaving_chunking_and_repetition_gives_the_same_final_state(
    name: str, seed: int
) -> None:
    random = Random(seed)
    job = model(name)
    position = dict.fromkeys(FEEDS[name], 0)
    while open_feeds := [w for w in position if position[w] < len(FEEDS[name][w])]:
        where = random.choice(open_feeds)
        data, at = FEEDS[name][where], position[where]
        again = random.randint(0, min(at, 300))
        end = at + random.choice((1, 7, 100, 1000, 5000))
        job.feed(*where, at - again, data[at - again : end])
        position[where] = min(end, len(data))
        if random.random() < 0.2:
            job.snapshot(NOW)
    assert job.snapshot(NOW) == FINAL[name]


@SETTINGS
@given(st.sampled_from(NAMES), st.data())
def test_a_tail_that_is_cut_off_and_comes_later_changes_nothing(
    name: str, data: st.DataObject
) -> None:
    job = model(name)
    cut: dict[Where, int] = {}
    for where, content in FEEDS[name].items():
        cut[where] = data.draw(st.integers(0, len(content)))
        job.feed(*where, 0, content[: cut[where]])
    early = job.snapshot(NOW)
    if early.state.ended:
        assert early.state is FINAL[name].state
        assert early.exit_code == FINAL[name].exit_code
    for where, content in FEEDS[name].items():
        job.feed(*where, cut[where], content[cut[where] :])
    assert job.snapshot(NOW) == FINAL[name]


@SETTINGS
@given(st.sampled_from(NAMES), st.data())
def test_a_line_torn_by_a_dead_writer_and_fenced_off_by_the_next_changes_nothing(
    name: str, data: st.DataObject
) -> None:
    job = model(name)
    for where, content in FEEDS[name].items():
        lines = content.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(lines)))
        torn = data.draw(st.integers(1, 60))
        rest = b"".join(lines[at:])
        junk = (rest[:torn] if torn < len(rest) else b'{"seq": 3, "at"').rstrip(b"\n") + b"\n"
        broken = b"".join(lines[:at]) + junk + rest
        job.feed(*where, 0, broken)
        job.sized(*where, len(broken))
    assert job.snapshot(NOW) == FINAL[name]


@SETTINGS
@given(st.binary(max_size=2000), st.sampled_from(("events", "launcher", "beats")))
def test_no_bytes_whatever_break_the_model(data: bytes, journal: str) -> None:
    job = JobModel(model("success").record)
    job.feed(0, 0, journal, 0, data + b"\n")
    job.snapshot(NOW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("pid", "at", "rank", "message", "failures")), inner)
    ),
    max_leaves=6,
)


@SETTINGS
@given(st.sampled_from(NAMES), st.data())
def test_no_field_of_any_event_breaks_the_model(name: str, data: st.DataObject) -> None:
    job = model(name)
    for where, content in FEEDS[name].items():
        lines = [json.loads(line) for line in content.splitlines()]
        victim = data.draw(st.sampled_from(lines))
        field = data.draw(st.sampled_from(sorted(victim)))
        victim[field] = data.draw(_JSON)
        job.feed(*where, 0, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    job.snapshot(NOW)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=20))
def test_ranges_are_the_set_of_their_members(items: list[tuple[int, int]]) -> None:
    ranges, truth = Ranges(), set()
    for start, length in items:
        ranges.add(start, start + length)
        truth |= set(range(start, start + length))
    assert {x for start, end in ranges.all() for x in range(start, end)} == truth
    assert all(a[1] < b[0] for a, b in zip(ranges.all(), ranges.all()[1:], strict=False))
    missing = {x for start, end in ranges.missing(5, 70) for x in range(start, end)}
    assert missing == set(range(5, 70)) - truth
    for position in range(0, 80, 7):
        assert ranges.after(position) == min((x for x in truth if x >= position), default=None)


LIVE = running()
for _at in range(12, 20):
    LIVE.beats(0, float(_at), 0, {"step": _at, "metrics": {"loss": 30.0 - _at}}, {"step": _at})
    LIVE.beats(1, float(_at), 0, {"step": _at, "own": 0.9}, {"step": _at, "own": 0.2})
LIVE.stalled(1, 19.5, 0, (3, 19))
LIVE_FEEDS = LIVE.data()


@SETTINGS
@given(st.integers(0, 2**32))
def test_beats_of_a_running_job_give_the_same_picture_in_any_order(seed: int) -> None:
    random = Random(seed)
    job = JobModel(LIVE.record)
    job.plan(plan(2))
    for name in ("gpu01", "gpu02"):
        job.link(name, ONLINE)
    position = dict.fromkeys(LIVE_FEEDS, 0)
    while open_feeds := [w for w in position if position[w] < len(LIVE_FEEDS[w])]:
        where = random.choice(open_feeds)
        data, at = LIVE_FEEDS[where], position[where]
        start = at - random.randint(0, min(at, 300))
        position[where] = min(at + random.choice((1, 50, 700)), len(data))
        job.feed(*where, start, data[start : position[where]])
        if random.random() < 0.2:
            job.snapshot(T0 + random.choice((18.0, 20.0, 60.0)))
    seen = job.snapshot(T0 + 20.0)
    assert seen == LIVE.job(20.0)
    assert seen.flags == ("stalled", "straggler")
