"""Fixture of the tests of rules: a world of five taxa."""

from __future__ import annotations

from pathlib import Path

import pytest
from rules_samples import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
