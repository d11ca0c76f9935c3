"""The world that the tests of rules share."""

from __future__ import annotations

from pathlib import Path

import pytest
from rules_samples import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
