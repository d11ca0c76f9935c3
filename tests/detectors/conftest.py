"""A cache of its own for each test, and a confirmed random checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import checkpoint_bytes, sha256
from command_samples import Bioclip, Outcome

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.detectors.trust import confirm
from bioclip_plugin.testing import FakeModel


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


@pytest.fixture
def bioclip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bioclip:
    """Command line over a fake model that sees colours, as a function that runs in ``tmp_path``."""
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments], manager=manager)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return call
