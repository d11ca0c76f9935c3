"""A cache of its own for each test, and a confirmed random checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import checkpoint_bytes, sha256

from bioclip_plugin.detectors.trust import confirm


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("BIOCLIP_CACHE", str(folder))
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint that nobody confirmed yet."""
    file = tmp_path / "md_v5x.0.0.pt"
    file.write_bytes(checkpoint_bytes())
    return file


@pytest.fixture
def confirmed(checkpoint: Path) -> Path:
    confirm(sha256(checkpoint.read_bytes()), checkpoint.name, "confirmed")
    return checkpoint
