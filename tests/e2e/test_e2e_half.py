"""A command that fails on one of its nodes: told while the other runs on, and after a cancel."""

from __future__ import annotations

import signal
from typing import Any

from tests.e2e.lab import PLAIN, Lab, until

BAD_ON_RANK_0 = """\
import os, sys, time
if os.environ["COCKPIT_ATTEMPT"].endswith("/0"):
    sys.exit(7)
time.sleep(300)
"""


def test_what_failed_on_one_node_is_told_at_once_and_outlives_a_cancel(lab: Lab) -> None:
    lab.script(BAD_ON_RANK_0)
    run = lab.start(
        *PLAIN, "--no-preflight", "--nodes", "2", "--name", "half",
        "train.py",
    )  # fmt: skip
    assert run.stderr is not None
    try:
        # The narration comes while the other node runs on.
        told = next((line for line in run.stderr if "failed" in line), "")
        assert "node0 failed: exit 7" in told
        status: dict[str, Any] = until(lambda: (d := lab.status("half"))["cause"] and d)
        assert (status["state"], status["exit_code"]) == ("running", None)
        assert (status["cause"]["node"], status["cause"]["exit_code"]) == ("node0", 7)
        text = lab.run("status", "half").stdout
        assert "last failure: the command on node0 exited with 7" in text
    finally:
        run.send_signal(signal.SIGINT)
        _, narrated = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "failed before that: the command on node0 exited with 7" in narrated
    status = lab.status("half")
    assert (status["state"], status["exit_code"]) == ("cancelled", 130)
    assert status["cause"]["kind"] == "cancelled"
    (generation,) = status["history"]
    assert (generation["reason"], generation["cause"]["exit_code"]) == ("cancelled", 7)
    text = lab.run("status", "half").stdout
    assert "failed before that: the command on node0 exited with 7" in text
