from __future__ import annotations

from pathlib import Path

import pytest

from cockpit.errors import UsageError
from cockpit.profiles import looks_secret, parse_env, read_env_file


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "hf_token",
     "SSH_PASSPHRASE", "GITHUB_PAT", "MY_SECRET", "OPENAI_APIKEY", "PRIVATE_KEY",
     "GOOGLE_CREDENTIALS", "db-passwd"],
)  # fmt: skip
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "HF_TOKEN_PATH", "PASSWORD_FILE", "KEY", "KEYBOARD",
     "NCCL_DEBUG", "PATH", "MONKEY", "SECRETARY", "TOKEN_COUNT", "API_URL", "AWS_ACCESS_KEY_ID"],
)  # fmt: skip
def test_ordinary_names_are_not_taken_for_secrets(name: str) -> None:
    assert not looks_secret(name)


def test_typed_variables_keep_every_character_of_their_value() -> None:
    assert parse_env(["A=1", "B=x=y", "C=", "D= $(id) 'q'\n", "A=2"]) == {
        "A": "2",
        "B": "x=y",
        "C": "",
        "D": " $(id) 'q'\n",
    }


def test_a_lone_name_takes_the_controllers_value() -> None:
    assert parse_env(["HF_HOME"], {"HF_HOME": "/data"}) == {"HF_HOME": "/data"}
    with pytest.raises(UsageError, match="HF_HOME: the variable is not set"):
        parse_env(["HF_HOME"], {})


@pytest.mark.parametrize("item", ["=x", "1A=x", "A B=x", "", "A-B=x", "É=x", "A\n=x"])
def test_bad_names_are_refused(item: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        parse_env([item], {})


def test_cockpits_own_variables_cannot_be_set() -> None:
    with pytest.raises(UsageError, match="cockpit's own"):
        parse_env(["COCKPIT_ATTEMPT=x"])


def test_nul_is_refused_without_showing_the_value() -> None:
    with pytest.raises(UsageError) as caught:
        parse_env(["A=geheim\0x"])
    assert "geheim" not in str(caught.value)


def write(folder: Path, text: str) -> Path:
    file = folder / ".env"
    file.write_text(text)
    return file


def test_a_dotenv_file_is_read_with_comments_export_and_quotes(tmp_path: Path) -> None:
    text = r"""
# comment
A=1
 export B = two words   # comment
C="a \"b\"\n\t\\ \$HOME # no comment"   # comment
D='raw \n "x" # no comment'
E=
F=#comment
G=a#b
H="two
lines"
export I
J='{"a": 1}'
A=again
"""
    assert read_env_file(write(tmp_path, text)) == {
        "A": "again",
        "B": "two words",
        "C": 'a "b"\n\t\\ $HOME # no comment',
        "D": 'raw \\n "x" # no comment',
        "E": "",
        "F": "",
        "G": "a#b",
        "H": "two\nlines",
        "J": '{"a": 1}',
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("A=1\nB\n", 2, "not a NAME=value line"),
        ("A=1\n\n1B=2\n", 3, "no name"),
        ('A="x\n\n', 1, "no end"),
        ('A=1\nB="x" y\n', 2, "no end, or text behind"),
        ("A=1\nB='x\n", 2, "no end"),
        ("A=\0\n", 1, "NUL"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, line: int, words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError, match=words) as caught:
        read_env_file(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_env_file(tmp_path / "none")
    bad = tmp_path / "bad"
    bad.write_bytes(b"A=\xff\n")
    with pytest.raises(UsageError, match="UTF-8"):
        read_env_file(bad)


def test_windows_line_ends_are_no_part_of_a_value(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b'A=1\r\nB="x"\r\n')
    assert read_env_file(file) == {"A": "1", "B": "x"}
