"""`cockpit restart`: which of its options go together. Nothing is contacted for that."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cockpit.cli.jobs import restart


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ranks", "--spares", "train"), "not with --ranks"),
        (("--ranks", "--without", "gpu01", "train"), "not with --ranks"),
        (("--ranks", "--checkpoint", "train"), "not with --ranks"),
        (("--checkpoint-timeout", "5", "train"), "goes with --checkpoint"),
        (("--checkpoint", "--checkpoint-timeout", "0", "train"), "0.0 is not in the range"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(
    words: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(restart, words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
