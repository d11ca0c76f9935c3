"""A cache of its own for each test, and a confirmed random checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.ImageFile
import pytest
from checkpoints import checkpoint_bytes, sha256
from command_samples import Bioclip, Outcome

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.detectors.importing import import_yolov5
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


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package's own detector with the random checkpoint, in a folder as it is published."""
    import_yolov5()  # first, and without a trace
    reads_truncated = PIL.ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        from speciesnet.detector import SpeciesNetDetector
    finally:
        PIL.ImageFile.LOAD_TRUNCATED_IMAGES = reads_truncated
    folder = tmp_path_factory.mktemp("model")
    (folder / "md.pt").write_bytes(checkpoint_bytes())
    names = dict.fromkeys(("classifier", "classifier_labels", "taxonomy", "geofence"), "none")
    (folder / "info.json").write_text(json.dumps({"version": "0", "type": "always_crop", "detector": "md.pt", **names}))
    detector = SpeciesNetDetector(str(folder))
    detector.model, detector.device = detector.model.cpu(), "cpu"
    return detector
