"""A store for runs of drawn images."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import TAXA, House, trapped

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.testing import FakeModel


@pytest.fixture(scope="session")
def colour_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label set of three species whose genera are colours."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "taxa.csv").write_text(TAXA)
    arguments = ["labels", "build", str(folder / "taxa.csv"), "--model", "fake", "--output", str(folder / "labels")]
    assert run(arguments, manager=_manager()) == 0
    return folder / "labels"


def _manager() -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    return manager


@pytest.fixture
def house(tmp_path: Path, colour_labels: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Empty store, whose folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOCLIP_CONFIG", raising=False)
    return House(tmp_path, _manager(), colour_labels)


@pytest.fixture(scope="session")
def large_report(tmp_path_factory: pytest.TempPathFactory, colour_labels: Path) -> Path:
    """Report of 150 images, made once for all tests that only read it."""
    house = House(tmp_path_factory.mktemp("large"), _manager(), colour_labels)
    house.classify(trapped(house))
    return house.write()[0]
