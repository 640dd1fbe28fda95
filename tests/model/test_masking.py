"""Values of secrets are hidden whole, wherever they are cut, and nothing else is."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model.jobs import JobModel
from cockpit.model.logdoc import LogDoc
from cockpit.model.masking import Mask
from tests.model.building import running
from tests.model.log_world import World
from tests.model.scenarios import T0, plan, record

SECRET = 'hf_"Ab+(9\\ü'


def test_a_value_is_hidden_and_a_short_one_is_not() -> None:
    mask = Mask([SECRET, "short", ""])
    assert mask.text(f"sec={SECRET}; short") == "sec=***; short"
    assert mask.data(f"sec={SECRET}; short".encode()) == b"sec=***; short"
    assert Mask(["short"]).empty


def test_a_value_is_hidden_as_json_writes_it() -> None:
    for ascii_only in (True, False):
        written = json.dumps({"x": SECRET}, ensure_ascii=ascii_only)
        assert Mask([SECRET]).text(written) == '{"x": "***"}'


def test_of_values_that_begin_alike_the_whole_is_hidden() -> None:
    assert Mask(["secret", "secret-longer"]).text("secret-longer secret") == "*** ***"


def test_each_line_of_a_value_is_hidden() -> None:
    mask = Mask(["-----BEGIN-----\nMIIabcdef\n--"])
    assert mask.text("MIIabcdef and -----BEGIN----- and --") == "*** and *** and --"


@pytest.mark.parametrize(
    "value",
    [
        "machine api.wandb.ai\n  login user\n  password {key}\n",
        "# keys\nexport WANDB_API_KEY='{key}'\n",
        '{{\n  "id": 1,\n  "private_key": "-----BEGIN-----\\n{key}\\n-----END-----\\n"\n}}\n',
    ],
)
def test_of_a_file_with_a_key_in_it_the_key_alone_is_hidden_too(value: str) -> None:
    key = "0123456789abcdef0123456789abcdef"
    mask = Mask([value.format(key=key)])
    assert mask.text(f"using {key} now, user 1") == "using *** now, user 1"


def test_the_words_of_a_value_of_one_line_are_shown() -> None:
    assert Mask(["a-sentence-of-many words\n"]).text("a-sentence-of-many") == "a-sentence-of-many"


def test_what_becomes_known_later_is_hidden_from_then_on() -> None:
    mask = Mask()
    assert mask.text(SECRET) == SECRET
    mask.add([SECRET])
    assert mask.text(SECRET) == "***"


@given(
    st.lists(st.sampled_from([b"abcabc", b"abcabcd", b"abc", b"a", b"x", b"\n"]), max_size=30),
    st.lists(st.integers(0, 120), max_size=8),
    st.booleans(),
)
def test_in_pieces_the_same_is_hidden_as_in_one(
    parts: list[bytes], cuts: list[int], same_size: bool
) -> None:
    data = b"".join(parts)
    mask = Mask(["abcabc", "abcabcd"])

    def through(pieces: list[bytes]) -> bytes:
        stream = mask.stream(same_size=same_size)
        return b"".join([*(stream.feed(piece) for piece in pieces), stream.end()])

    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.zip_longest(edges, edges[1:])]
    whole = through([data])
    assert through(pieces) == whole
    assert b"abcabc" not in whole
    if same_size:
        assert len(whole) == len(data)
    else:
        assert whole == mask.data(data)


def test_the_words_of_a_failure_are_masked_and_names_of_states_are_not() -> None:
    model = JobModel(record(1), mask=Mask([SECRET, "failed", "launcher"]))
    model.plan(plan(1))
    cluster = running(1, 1)
    failure = {"local_rank": 0, "exception": "E", "message": f"E: {SECRET}", "exit_code": 3}
    cluster.failed(0, 5.0, 0, failure)
    for (_, _, journal), data in cluster.end(9.0).data().items():
        model.feed(0, 0, journal, 0, data)
    job = model.snapshot(T0 + 10.0)
    assert job.state.ended
    assert job.cause is not None
    assert job.cause.message == "E: ***"


def test_a_document_gives_and_saves_masked_lines_and_the_mirror_keeps_them(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "mirror", ranks=1)
    (stream,) = world.streams
    stream.write(1.0, f"sec={SECRET}\nnext\n".encode())
    stream.open()
    stream.send()
    document = LogDoc(world, clock=lambda: world.now, mask=Mask([SECRET]))
    for each in (document, document.select(None)):
        world.settle(each)
        assert [line.data for line in each.lines(0, 9)] == [b"sec=***", b"next"]
        asyncio.run(each.save(tmp_path / "saved.log"))
        saved = (tmp_path / "saved.log").read_text()
        assert "sec=***\n" in saved and SECRET not in saved
    assert SECRET.encode() in stream.mirror.read(0, 100)
    document.close()


@pytest.mark.parametrize("text", ["", "no secret here"])
def test_a_mask_without_values_changes_nothing(text: str) -> None:
    mask = Mask()
    assert mask.text(text) is text
    stream = mask.stream()
    assert stream.feed(text.encode()) + stream.end() == text.encode()
