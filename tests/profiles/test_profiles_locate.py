from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.profiles.keys import dotted, quote, split
from cockpit.profiles.locate import Block, Place, blocks, locate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every path into parsed data, the empty one left out."""
    found = {path} if path else set()
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        found |= paths(inner, (*path, key))
    return found


def lines(text: str) -> dict[str, int]:
    return {dotted(path): place.line for path, place in locate(text).items()}


def test_every_kind_of_key_has_the_line_on_which_it_stands() -> None:
    text = """\
# [not.a.table]
top = 1

[clusters.lab]  # x = 1
nodes = [
  "a",   # "b",
  { host = "c", gpus = 8 },
]
"quoted key" = 1
'lit.eral' = 2
env . DEEP = "x"

[[list]]
a = 1
[list.sub]
b = 1
[[list]]
a = 2
"""
    assert lines(text) == {
        "top": 2,
        "clusters": 4,
        "clusters.lab": 4,
        "clusters.lab.nodes": 5,
        "clusters.lab.nodes[0]": 6,
        "clusters.lab.nodes[1]": 7,
        "clusters.lab.nodes[1].host": 7,
        "clusters.lab.nodes[1].gpus": 7,
        'clusters.lab."quoted key"': 9,
        'clusters.lab."lit.eral"': 10,
        "clusters.lab.env": 11,
        "clusters.lab.env.DEEP": 11,
        "list": 13,
        "list[0]": 13,
        "list[0].a": 14,
        "list[0].sub": 15,
        "list[0].sub.b": 16,
        "list[1]": 17,
        "list[1].a": 18,
    }


def test_columns_count_characters_from_one() -> None:
    text = 'é = [ "ü", "x" ]\n  b = { c = 1 }\n'.replace("é", '"é"', 1)
    places = locate(text)
    assert places[("é",)] == Place(1, 1)
    assert places[("é", 1)] == Place(1, 14)
    assert places[("b",)] == Place(2, 3)
    assert places[("b", "c")] == Place(2, 9)


@pytest.mark.parametrize(
    "value",
    [
        '"""\n[x]\nk = "1"\n# no comment\n"""',
        '"""a "quoted" \\""" b\nk = 1\n"""',
        '"""ends with quotes"""""',
        '"""\\\n   folded \\\\"""',
        "'''\n[x]\n'two'' quotes'''''",
        "'''\\'''",
        '"a \\" # b"',
        "'a \\'",
        "1979-05-27 07:32:00Z",
        "[[1, 2], [\n'a]', \"b]\", # ]\n {c = ']'} ]\n]",
        "{ a = '}', b = [ '}' ], c.d = 1 }",
        '""',
        "''",
        '""""""',
        "''''''",
    ],
)
def test_no_value_hides_the_key_behind_it(value: str) -> None:
    text = f"first = {value}   # comment\nlast = 1\n"
    assert paths(tomllib.loads(text)) == set(locate(text))
    assert locate(text)[("last",)].line == text.count("\n")


def test_a_header_of_its_own_beats_the_header_of_a_sub_table() -> None:
    assert lines("[a.b.c]\nx = 1\n[a.b]\ny = 1\n[a]\n") == {
        "a": 5,
        "a.b": 3,
        "a.b.c": 1,
        "a.b.c.x": 2,
        "a.b.y": 4,
    }


def test_escapes_in_quoted_keys_are_the_keys_that_the_parser_sees() -> None:
    text = r'"a\tb\"c\\" = 1' + "\n" + r'"\u00e9\U0001F600" = 2' + "\n"
    assert set(locate(text)) == paths(tomllib.loads(text))


class Writer:
    """Writes a random TOML text and remembers how each key was written."""

    NASTY = ("", "]", "[x]", "# no", "k = 1", "}", ",", "'", '"', "=", "é", "a.b", "\t")

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.count = 0
        self.tokens: dict[str, str] = {}

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def key(self) -> str:
        self.count += 1
        name = f"k{self.count}"
        style = self.pick("bare", "basic", "literal")
        if style == "bare":
            token = name
        elif style == "basic":
            name += self.pick(*self.NASTY)
            token = '"' + name.replace('"', '\\"').replace("\t", "\\t") + '"'
        else:
            name += self.pick(*(text for text in self.NASTY if text != "'"))
            token = f"'{name}'"
        self.tokens[name] = token
        return token

    def keys(self) -> str:
        return self.pick(".", " . ", ".").join(self.key() for _ in range(self.pick(1, 1, 2, 3)))

    def value(self, depth: int = 0) -> str:
        kinds = ["plain", "basic", "literal", "long basic", "long literal"]
        kind = self.pick(*kinds, *(["list", "table"] if depth < 3 else []))
        text = self.pick(*self.NASTY) + self.pick(*self.NASTY)
        if kind == "plain":
            return str(self.pick("1", "0x1f", "1_0.5e3", "true", "nan", "+inf",
                                 "1979-05-27", "1979-05-27T07:32:00-08:00",
                                 "07:32:00"))  # fmt: skip
        if kind == "basic":
            return '"' + text.replace('"', '\\"') + '"'
        if kind == "literal":
            return "'" + text.replace("'", "") + "'"
        if kind == "long basic":
            return '"""' + self.pick("", "\n", "\\\n ") + text.replace('"', '\\"') + '\n"""'
        if kind == "long literal":
            return "'''\n" + text + "\n" + self.pick("", "'", "''") + "'''"
        items = range(self.pick(0, 1, 2, 3))
        if kind == "table":
            pairs = [f"{self.keys()} = {self.value(depth + 1)}" for _ in items]
            return "{" + self.pick("", " ") + ", ".join(pairs) + "}"
        gap = self.pick("", " ", "\n", " # ], [ '\n", "\n\n  ")
        values = [gap + self.value(depth + 1) + gap for _ in items]
        return "[" + ",".join(values) + self.pick("", "," if values else "") + gap + "]"

    def text(self) -> str:
        parts = [self.pairs()]
        for _ in range(self.pick(0, 1, 2, 3)):
            header = self.keys()
            parts.append(self.pick("", "# [x]\n", "\n") + f"[{header}] # c\n" + self.pairs())
            if self.pick(True, False):
                parts.append(f"[{header}.{self.key()}]\n" + self.pairs())
            if self.pick(True, False):
                array = self.keys()
                parts.append(f" [[{array}]]\n" + self.pairs())
                parts.append(f"[{array}.{self.key()}]\n" + self.pairs())
                parts.append(f"[[ {array} ]]\n" + self.pairs())
        return "".join(parts)

    def pairs(self) -> str:
        return "".join(
            f"{self.pick('', '  ')}{self.keys()} {self.pick('=', '= ')}{self.value()}"
            f"{self.pick('', ' # = [')}\n"
            for _ in range(self.pick(0, 1, 2, 3))
        )


@given(st.data())
def test_any_text_has_exactly_the_places_of_its_parsed_keys(data: st.DataObject) -> None:
    writer = Writer(data.draw)
    text = writer.text()
    places = locate(text)
    assert set(places) == paths(tomllib.loads(text))
    rows = text.split("\n")
    for path, place in places.items():
        key = next(part for part in reversed(path) if isinstance(part, str))
        rest = rows[place.line - 1][place.column - 1 :]
        if isinstance(path[-1], int):
            assert rest and rest[0] not in " ,#]}\n="
        else:
            assert writer.tokens[key] in rest


@given(st.text(alphabet="[]{}=\"'#,.\\\n a1", max_size=60))
def test_no_text_makes_the_scanner_hang_or_fail(text: str) -> None:
    locate(text)


@given(st.lists(st.text(min_size=0, max_size=8).filter(lambda s: s.isprintable()), min_size=1))
def test_a_dotted_key_splits_into_the_parts_it_was_made_of(parts: list[str]) -> None:
    assert list(split(dotted(parts))) == parts


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8))
def test_a_quoted_part_is_a_key_of_toml(part: str) -> None:
    assert tomllib.loads(f"{quote(part)} = 1") == {part: 1}


def test_a_date_with_a_space_is_one_value() -> None:
    text = "a = 1979-05-27 07:32:00\nb = 1\n"
    assert tomllib.loads(text)["b"] == 1
    assert lines(text) == {"a": 1, "b": 2}


def test_a_block_ends_with_its_last_pair() -> None:
    text = "a = 1\n[b]  # c\nx = [\n 1,\n]  # d\n\n# about e\n[[e]]\n[b.c]\ny = 1"
    assert blocks(text) == [Block(("b",), 2, 5), Block(("e", 0), 8, 8), Block(("b", "c"), 9, 10)]
