"""Paths below the home folder of a user, and of one that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.errors import BioclipError, DataError, StoreError
from bioclip_core.files.homes import with_home
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import find_model
from bioclip_plugin.store.database.address import parse_address

ROOT = Path(__file__).parents[3]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert with_home("~/a.db") == tmp_path / "a.db"
    assert with_home("a~b/~c") == Path("a~b/~c")


def test_a_user_that_does_not_exist_is_named_with_what_to_do() -> None:
    with pytest.raises(
        DataError, match=r"path '~nobodyx/x.db' names a user 'nobodyx' that this machine does not have: give a path"
    ):
        with_home("~nobodyx/x.db")


def test_a_user_without_a_home_folder_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    with pytest.raises(
        DataError, match=r"path '~/x.db' begins in your home folder, which is unknown: give a path without ~"
    ):
        with_home("~/x.db")


@pytest.mark.parametrize("address", ["~nobodyx/x.db", "sqlite:///~nobodyx/x.db"])
def test_a_store_of_a_user_that_does_not_exist_is_refused(address: str) -> None:
    with pytest.raises(StoreError, match="a user 'nobodyx'"):
        parse_address(address)


def test_models_and_label_sets_of_a_user_that_does_not_exist_are_refused() -> None:
    for name in ("~nobodyx/m.safetensors", "local-dir:~nobodyx", "ViT-B-16=~nobodyx/m.safetensors"):
        with pytest.raises(BioclipError, match="a user 'nobodyx'"):
            find_model(name, {})
    with pytest.raises(BioclipError, match="a user 'nobodyx'"):
        LabelSet.open("~nobodyx/labels")


def test_no_other_module_asks_for_the_home_folder_of_a_path() -> None:
    parts = (ROOT / "bioclip_plugin", ROOT / "core", ROOT / "training")
    found = {path.name for part in parts for path in part.rglob("*.py") if ".expanduser()" in path.read_text("utf-8")}
    assert found <= {"homes.py", "disks.py"}
