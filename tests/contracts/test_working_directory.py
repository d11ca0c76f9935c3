"""A plugin that changes the working directory on one of our threads."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from bioclip_plugin.contracts.containing import Owner


def call_on_our_thread(owner: Owner, folder: Path) -> None:
    thread = threading.Thread(target=lambda: owner.call("work", os.chdir, folder), name="bioclip-detect-1")
    thread.start()
    thread.join(10)


def test_a_change_of_the_directory_on_our_thread_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        call_on_our_thread(Owner("wanderer"), folder)
    assert len(caplog.messages) == 1
    assert f"from {tmp_path} to {folders[0]} while plugin wanderer was at work" in caplog.messages[0]


def test_calls_that_leave_the_directory_alone_are_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    call_on_our_thread(Owner("settled"), tmp_path)
    assert not caplog.messages
