"""The command line over a fake model that sees colours, in the test's own working directory, and a label set for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ImageFile

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.testing import FakeModel

Command = Callable[..., tuple[int, str, str]]
"""Exit code, standard output and standard error of one call."""


@pytest.fixture(autouse=True)
def pillow_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore Pillow's setting: importing megadetector-utils makes Pillow accept truncated images in the whole process."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Command line as a function that runs in ``tmp_path`` with the model ``fake``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOCLIP_CONFIG", raising=False)
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments], manager=manager)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def colour_labels(command: Command, tmp_path: Path) -> str:
    """Label set of three species whose genera are colours, as the fake text tower expects."""
    (tmp_path / "taxa.csv").write_text(
        "kingdom,phylum,class,order,family,genus,specificEpithet,vernacularName\n"
        "Animalia,Chordata,Mammalia,Carnivora,Warmidae,Red,fictus,scarlet invention\n"
        "Animalia,Chordata,Mammalia,Carnivora,Coldidae,Green,fictus,leafy invention\n"
        "Animalia,Chordata,Mammalia,Carnivora,Coldidae,Blue,pictus,azure invention\n"
    )
    assert command("labels", "build", "taxa.csv", "--model", "fake", "--output", "labels")[0] == 0
    return "labels"
