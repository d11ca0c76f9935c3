"""The place of the cache, whoever runs the program."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from bioclip_core.calibration import find_calibration
from bioclip_core.errors import ModelError
from bioclip_core.identity import user_cache
from bioclip_core.models import find_model


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIOCLIP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)


def test_the_cache_is_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert tmp_path in user_cache().parents


def test_a_user_without_a_home_folder_has_a_temporary_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(unknown))
    assert Path(tempfile.gettempdir()) in user_cache().parents


def test_the_variable_of_the_cache_may_name_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("BIOCLIP_CACHE", "~/cache")
    assert user_cache() == tmp_path / "cache"
    monkeypatch.setenv("MY_DISK", str(tmp_path / "disk"))
    monkeypatch.setenv("BIOCLIP_CACHE", "$MY_DISK/cache")
    assert user_cache() == tmp_path / "disk" / "cache"


def test_a_cache_that_is_a_file_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_folder: Path
) -> None:
    file = tmp_path / "cache"
    file.write_text("not a folder")
    monkeypatch.setenv("BIOCLIP_CACHE", str(file))
    found = find_model(f"local-dir:{clip_folder}", {})
    with pytest.raises(ModelError, match="BIOCLIP_CACHE names a file: set it to a folder") as caught:
        find_calibration(found, "labels")
    assert "remove" not in str(caught.value)
