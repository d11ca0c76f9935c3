"""Closing: resources that a Session and a plugin manager release, and rules that are still running then."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from opening_samples import write_video
from PIL import Image

from bioclip_core.errors import PluginError, StoreError, UsageError
from bioclip_plugin import ClassifyRequest, Session, create_plugin_manager
from bioclip_plugin.plugin_api import BioclipPluginManager, MediaItem
from bioclip_plugin.running.pipeline import Pipeline
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

FISH = ("a red fish", "a blue fish")


@pytest.fixture
def manager() -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    return manager


@pytest.fixture
def red() -> MediaItem:
    return MediaItem("red", image=Image.new("RGB", (20, 10), (255, 0, 0)))


def trails(store: Path) -> list[int]:
    with Store.open(store) as opened:
        return [
            len(item.regions[0].decision.trail) for item in opened.items_of(opened.run()) if item.regions[0].decision
        ]


def request_for(store: Path) -> ClassifyRequest:
    return ClassifyRequest(model="fake", labels=FISH, store=str(store), rules=("unknown:below=0.99",))


def test_closing_the_manager_closes_the_sessions_of_the_hooks_with_their_rules_and_runs(
    manager: BioclipPluginManager, red: MediaItem, tmp_path: Path
) -> None:
    store = tmp_path / "r.db"
    manager.hook.classify_images(items=[red], request=request_for(store))
    assert trails(store) == [0]
    manager.close()
    assert trails(store) == [1]
    with Store.open(store) as opened:
        assert [run.status for run in opened.runs()] == ["finished"]


def test_a_closed_manager_serves_again_and_is_closed_again(
    manager: BioclipPluginManager, red: MediaItem, tmp_path: Path
) -> None:
    manager.close()
    for name in ("a.db", "b.db"):
        manager.hook.classify_images(items=[red], request=request_for(tmp_path / name))
        manager.close()
        assert trails(tmp_path / name) == [1]


def open_files() -> list[str]:
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def test_closing_the_manager_closes_videos(manager: BioclipPluginManager, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 5)
    (answer,) = manager.hook.classify_images(
        items=[MediaItem(str(video), video, frame=1)], request=ClassifyRequest(model="fake", labels=FISH)
    )
    assert answer.failure is None
    assert str(video) in open_files()
    manager.close()
    assert str(video) not in open_files()


def test_every_closer_of_a_plugin_runs_though_one_fails(manager: BioclipPluginManager) -> None:
    closed: list[str] = []
    manager.on_close(lambda: closed.append("first"))

    def fail() -> None:
        raise PluginError("the drawer is stuck")

    manager.on_close(fail)
    with pytest.raises(PluginError, match="drawer is stuck"):
        manager.close()
    assert closed == ["first"]


def test_a_session_without_a_manager_closes_the_one_that_it_made(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 5)
    with Session(model="demo") as session:
        assert session.classify(MediaItem(str(video), video, frame=1)).failure is None
        assert str(video) in open_files()
    assert str(video) not in open_files()


def test_rules_at_close_report_progress_to_a_callback(
    manager: BioclipPluginManager, red: MediaItem, tmp_path: Path
) -> None:
    session = Session(model="fake", labels=FISH, store=tmp_path / "r.db", rules=["unknown"], plugins=manager)
    session.classify(red)
    heard: list[tuple[int, int]] = []
    session.close(progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 1)]


def test_rules_at_close_are_logged_with_counts_if_progress_is_not_reported(
    manager: BioclipPluginManager, red: MediaItem, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "bioclip_plugin"),
        Session(model="fake", labels=FISH, store=tmp_path / "r.db", rules=["unknown"], plugins=manager) as session,
    ):
        session.classify(red)
    assert "Applying rules: 1 of 1 images" in caplog.text


@pytest.mark.parametrize("fault", ["a pipeline", "the rules"])
def test_closing_goes_on_to_the_end_though_a_step_fails(
    fault: str, manager: BioclipPluginManager, red: MediaItem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    session = Session(model="fake", labels=FISH, store=tmp_path / "r.db", rules=["unknown"], plugins=manager)
    stream = session.classify_stream([red] * 3)
    next(stream)
    monkeypatch.setattr(Pipeline, "close", fail) if fault == "a pipeline" else monkeypatch.setattr(
        session, "_ruled", fail
    )
    with pytest.raises(RuntimeError, match="a fault of ours"):
        session.close()
    stream.close()
    session.close()
    assert not [name for name in open_files() if "r.db" in name]
    with Store.open(tmp_path / "r.db") as opened:
        assert opened.run().status != "running"


def test_a_closed_session_is_not_entered_again(manager: BioclipPluginManager) -> None:
    session = Session(model="fake", labels=FISH, plugins=manager)
    session.close()
    with pytest.raises(UsageError, match="is closed"), session:
        pass


def test_a_store_beside_a_working_directory_that_is_gone_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StoreError, match=r"r\.db cannot be made: the working directory is gone"):
        Store.open("r.db")
