"""The tail of a rank's log in the record of its failure."""

from __future__ import annotations

import os
import pathlib

from cockpit.node.launch.lastwords import CHARACTERS, LINES, WINDOW, last_words


def test_the_last_lines_of_stderr_count_and_stdout_only_where_it_is_empty(
    tmp_path: pathlib.Path,
) -> None:
    out, err = tmp_path / "0.out", tmp_path / "0.err"
    out.write_text("epoch 1\nepoch 2\n")
    assert last_words(str(err), str(out)) == ["epoch 1", "epoch 2"]
    err.write_text("\n\n")
    assert last_words(str(err), str(out)) == ["epoch 1", "epoch 2"]
    err.write_text("".join(f"line {n}\n" for n in range(100)) + "no newline")
    assert last_words(str(err), str(out)) == [f"line {n}" for n in range(81, 100)] + ["no newline"]
    assert last_words("", str(tmp_path), str(tmp_path / "nowhere")) == []


def test_a_huge_log_costs_one_small_read_and_long_lines_are_cut(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "0.err"
    with open(path, "wb") as file:
        file.truncate(10 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"x" * (WINDOW // 2) + b"\nlast\n")
    assert last_words(str(path))[-2:] == ["x" * CHARACTERS, "last"]
    path.write_bytes(b"y" * (WINDOW * 3))
    assert last_words(str(path)) == ["y" * CHARACTERS]
    path.write_bytes(b"a" * WINDOW + b"\n" + b"b\n" * 3)
    assert last_words(str(path)) == ["b", "b", "b"], "a line of which the beginning is missing"


def test_what_a_progress_bar_drew_over_is_left_out(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "0.err"
    path.write_bytes(b"  0%|\r 50%|\r100%|##\r\nnext\r\n\xff broken\n")
    assert last_words(str(path)) == ["100%|##", "next", "\N{REPLACEMENT CHARACTER} broken"]


def test_no_more_lines_than_a_person_reads(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "0.err"
    path.write_text("x\n" * 1000)
    assert len(last_words(str(path))) == LINES
