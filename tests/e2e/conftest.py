"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.lab import Lab
from tests.harness.sshd import Sshd, make_sshd

__all__ = ["make_sshd"]


@pytest.fixture
def lab(tmp_path: Path, make_sshd: Callable[..., Sshd]) -> Lab:
    """Two nodes."""
    return Lab(tmp_path, [make_sshd("node0", "127.0.0.1"), make_sshd("node1", "127.0.0.2")])
