"""The command line over a fake model that sees colours, in the test's own working directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_samples import Bioclip, Outcome
from PIL import Image
from plain_figures import plain_figures

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.testing import FakeModel

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    """Reports of evaluations without a computed layout: they are tested in the room of the report."""
    with plain_figures():
        yield


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(logit_scale=10.0)


@pytest.fixture
def manager(model: FakeModel) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(model)
    return manager


@pytest.fixture
def bioclip(
    manager: BioclipPluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bioclip:
    """Command line as a function that runs in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOCLIP_CONFIG", raising=False)
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments], manager=manager)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, a red, a green and a blue one, and an empty file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 10), colour).save(folder / f"{name}.png")
    (folder / "zero.jpg").touch()
    return folder


@pytest.fixture
def taxa(tmp_path: Path) -> Path:
    """Table of three species whose genera are colours, as the fake text tower expects; one row is duplicated."""
    table = tmp_path / "taxa.csv"
    table.write_text(
        "kingdom,family,genus,specificEpithet,vernacularName,note\n"
        "Fictia,Warmidae,Red,fictus,scarlet invention,a\n"
        "Fictia,Coldidae,Green,fictus,,b\n"
        "Fictia,Coldidae,Blue,pictus,azure invention,c\n"
        "Fictia,Coldidae,Green,fictus,leafy invention,d\n"
        ",,,,,e\n"
    )
    return table


@pytest.fixture
def labels(bioclip: Bioclip, taxa: Path) -> str:
    """Label set of the three species."""
    assert bioclip("labels", "build", taxa, "--model", "fake", "--output", "labels").code == 0
    return "labels"


@pytest.fixture
def classified(bioclip: Bioclip, photos: Path, labels: str) -> str:
    """Store with a finished run over the photos."""
    outcome = bioclip("classify", "photos", "--model", "fake", "--labels", labels, "--store", "results.db")
    assert outcome.code == 3  # the empty file
    return "results.db"
