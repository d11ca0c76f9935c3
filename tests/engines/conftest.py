"""A folder of photos with a store of a plain run, and the model in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_samples import SHARDS, make_photos, rows_of, run_command

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.plugin_api import BioclipPluginManager
from bioclip_plugin.testing import FakeModel

Command = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def outside_of_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "RAY_ADDRESS")):
            monkeypatch.delenv(name)


@pytest.fixture
def pm() -> Iterator[BioclipPluginManager]:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel("mortal", logit_scale=10.0))
    yield manager
    manager.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_photos(tmp_path / "photos")
    (tmp_path / "fish.txt").write_text("a red fish\na blue fish\na green fish\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(pm: BioclipPluginManager, folder: Path) -> Command:
    """Function that classifies the photos into a store, by an engine or, without one, in a plain run."""

    def classify(store: str, engine: str = "", *more: str, work: str = "") -> tuple[int, str]:
        shards = ["--engine", engine, "--work-folder", work or f"work-{store}", "--shard-size", str(SHARDS)]
        given = ["photos", "--model", "mortal", "--labels", "fish.txt", "--store", store, *(shards if engine else [])]
        return run_command(pm, "classify", *given, *more)

    return classify


_PLAIN: list[object] = []


@pytest.fixture
def plain(command: Command) -> list[object]:
    """The rows of a plain run, the same in every folder."""
    if not _PLAIN:
        code, output = command("plain.db")
        assert code == 3, output  # one image is corrupt
        _PLAIN.extend(rows_of("plain.db"))
    return _PLAIN
