"""Only checkpoints whose sha256 was recorded are opened, and nothing else in them is executed."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from checkpoints import checkpoint_bytes, code_bytes, picture, saved, sha256
from command_samples import Bioclip

from bioclip_core.errors import (
    BioclipError,
    DataError,
    ModelError,
    ModelUnavailable,
    UnknownModel,
    UnsafeWeights,
    UsageError,
)
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.detectors import package
from bioclip_plugin.detectors.speciesnet import SpeciesNetDetector
from bioclip_plugin.detectors.trust import confirm, confirm_file, is_confirmed
from bioclip_plugin.detectors.yolov5_model import YoloModel


def of(path: Path) -> SpeciesNetDetector:
    return SpeciesNetDetector(str(path))


def test_a_checkpoint_that_nobody_confirmed_is_refused_before_any_work_and_not_opened(tmp_path: Path) -> None:
    marker, file = tmp_path / "executed", tmp_path / "md.pt"
    for data in (code_bytes(marker), code_bytes(marker, in_archive=False)):
        file.write_bytes(data)
        for work in (of(file).identity, lambda: of(file).detect([picture(20, 30)], "cpu")):
            with pytest.raises(UnsafeWeights) as refused:
                work()
            assert sha256(data) in str(refused.value)
            assert f"bioclip-plugin models trust {file} --sha256 {sha256(data)}" in str(refused.value)
            assert "\n" not in str(refused.value)
    assert not marker.exists()


def test_code_in_a_confirmed_checkpoint_is_not_executed_either(tmp_path: Path) -> None:
    marker, file = tmp_path / "executed", tmp_path / "md.pt"
    for data in (code_bytes(marker), code_bytes(marker, in_archive=False)):
        file.write_bytes(data)
        confirm(sha256(data), file.name, "confirmed")
        with pytest.raises(ModelError, match=r"md\.pt is not a YOLOv5 checkpoint; it needs .*pathlib\."):
            of(file).detect([picture(20, 30)], "cpu")
    assert not marker.exists()


def test_a_confirmed_checkpoint_finds_boxes(confirmed: Path) -> None:
    assert of(confirmed).detect([picture(60, 80)], "cpu")[0]
    assert of(confirmed).version == "md_v5x.0.0"


def test_the_identity_is_that_of_the_weights_and_the_packages_and_imports_nothing(confirmed: Path) -> None:
    identity = of(confirmed).identity()
    assert identity["weights_sha256"] == hashlib.sha256(confirmed.read_bytes()).hexdigest()
    assert (identity["side"], identity["stride"], identity["lowest_confidence"]) == (1280, 64, 0.01)
    assert identity["speciesnet"][0].isdigit()
    assert identity["yolov5"][0].isdigit()
    assert json.loads(json.dumps(identity)) == identity
    moved = confirmed.rename(confirmed.with_name("other name.pt"))
    assert of(moved).identity() == identity


def test_a_checkpoint_that_is_replaced_after_the_check_is_not_opened(tmp_path: Path, confirmed: Path) -> None:
    detector = of(confirmed)
    detector.identity()
    confirmed.write_bytes(code_bytes(tmp_path / "executed"))
    with pytest.raises(UnsafeWeights, match="changed after it was checked"):
        detector.detect([picture(20, 30)], "cpu")
    assert not (tmp_path / "executed").exists()


def test_another_confirmed_checkpoint_does_not_take_its_place_either(confirmed: Path) -> None:
    """Its boxes would be stored under the first one's identity."""
    detector, other = of(confirmed), checkpoint_bytes(seed=2)
    detector.identity()
    confirm(sha256(other), "other.pt", "confirmed")
    confirmed.write_bytes(other)
    with pytest.raises(UnsafeWeights, match="changed after it was checked"):
        detector.detect([picture(20, 30)], "cpu")


def test_a_detector_that_is_asked_for_its_identity_again_uses_the_new_weights(confirmed: Path) -> None:
    detector, other = of(confirmed), checkpoint_bytes(seed=2)
    detector.identity()
    before = detector.detect([picture(60, 80)], "cpu")
    confirm(sha256(other), "other.pt", "confirmed")
    confirmed.write_bytes(other)
    assert detector.identity()["weights_sha256"] == sha256(other)
    assert detector.detect([picture(60, 80)], "cpu") != before


def test_confirming_needs_the_sha256_of_the_file(checkpoint: Path) -> None:
    found = sha256(checkpoint.read_bytes())
    with pytest.raises(UsageError, match="'' is not a sha256"):
        confirm_file(checkpoint, "")
    with pytest.raises(DataError, match=f"has the sha256 {found}, not {'0' * 64} as given.*nothing was confirmed"):
        confirm_file(checkpoint, "0" * 64)
    with pytest.raises(UsageError, match="is not a sha256"):
        confirm_file(checkpoint, found[:-1])
    assert not is_confirmed(found)
    page = checkpoint.with_name("page.pt")
    page.write_bytes(b"<html>")
    with pytest.raises(ModelUnavailable, match="is not a checkpoint: it begins with b'<html>'"):
        confirm_file(page, sha256(b"<html>"))
    assert confirm_file(checkpoint, f"  SHA256:{found.upper()} ".replace("SHA256", "sha256")) == found
    assert is_confirmed(found)
    checkpoint.write_bytes(checkpoint.read_bytes() + b"more")
    with pytest.raises(UnsafeWeights, match=f"a file of this name was confirmed with {found}, so it was replaced"):
        of(checkpoint).identity()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "does not exist"), (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS")],
)
def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "md.pt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises((ModelUnavailable, UnknownModel), match=reason):
        of(file).identity()


def test_a_folder_in_the_format_of_published_models_names_its_checkpoint(
    tmp_path: Path, confirmed: Path, bioclip: Bioclip
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    address = "https://example.org/v5/md_v5x.0.0.pt?raw=1"
    for name, kept_as in (("md.pt", "md.pt"), (address, "https___example.org_v5_md_v5x.0.0.pt")):
        (folder / "info.json").write_text(json.dumps({"version": "4.0.3a", "type": "always_crop", "detector": name}))
        (folder / kept_as).write_bytes(confirmed.read_bytes())
        assert of(folder).identity() == of(confirmed).identity()
    assert bioclip("models", "trust", folder, "--sha256", sha256(confirmed.read_bytes())).code == 0
    (folder / "info.json").write_text(json.dumps({"detector": "../md_v5x.0.0.pt"}))
    with pytest.raises(ModelError, match="outside the folder"):
        of(folder).identity()
    (folder / "info.json").write_text("{}")
    with pytest.raises(ModelError, match="detector"):
        of(folder).identity()
    (folder / "info.json").unlink()
    with pytest.raises(ModelError, match=r"info\.json"):
        of(folder).identity()


def test_a_checkpoint_of_the_original_repository_is_opened_beside_modules_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confirmed: Path
) -> None:
    """It names its modules ``models.yolo`` and ``utils``, which the host and the working directory may have too."""
    for name in ("models", "utils"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the working directory was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    image = picture(60, 80)
    assert YoloModel(_as_of_its_repository(checkpoint_bytes()), "old.pt").detect([image], "cpu") == of(
        confirmed
    ).detect([image], "cpu")
    assert "models" not in sys.modules
    assert "utils" not in sys.modules


def _as_of_its_repository(data: bytes) -> bytes:
    """Return a checkpoint with the module names of YOLOv5's own repository."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            renamed = content.replace(b"cyolov5.models.", b"cmodels.")
            assert (renamed != content) == entry.filename.endswith("data.pkl")
            new.writestr(entry.filename, renamed)
    return made.getvalue()


def test_objects_of_other_systems_in_the_record_of_the_training_do_not_matter(tmp_path: Path, confirmed: Path) -> None:
    """A path of Windows cannot be made elsewhere, nor one of Linux on Windows."""
    import torch

    class Elsewhere:
        def __reduce__(self) -> Any:
            return Path, ("runs\\train\\exp",)

    content = torch.load(io.BytesIO(checkpoint_bytes()), weights_only=False)
    data = saved({**content, "opt": {"save_dir": Elsewhere()}, "git": None})
    image = picture(60, 80)
    assert YoloModel(data, "md.pt").detect([image], "cpu") == of(confirmed).detect([image], "cpu")


def test_without_the_packages_the_error_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, confirmed: Path, bioclip: Bioclip
) -> None:
    monkeypatch.setattr(package, "find_spec", lambda name: None if name == "yolov5" else object())
    for detector in (of(confirmed), SpeciesNetDetector()):
        with pytest.raises(
            ModelUnavailable, match=r"the package yolov5 is not installed.*pip install 'bioclip-plugin\[detector\]'"
        ):
            detector.identity()
    assert SpeciesNetDetector().missing() == "pip install 'bioclip-plugin[detector]'"
    assert SpeciesNetDetector().version == "not fetched"
    assert "speciesnet (needs pip install 'bioclip-plugin[detector]')" in bioclip("plugins").out


def test_the_constants_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert package.installed_package().default_model.startswith("kaggle:google/speciesnet/")
    monkeypatch.setattr(package, "_KNOWN", {"IMG_SIZE": 960})
    package._read_package.cache_clear()
    try:
        with pytest.raises(
            ModelError, match=r"speciesnet [\d.]+ has IMG_SIZE 1280, and this version of bioclip-plugin knows 960"
        ):
            package.installed_package()
    finally:
        package._read_package.cache_clear()


def test_a_cache_that_cannot_be_written_confirms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "a file"))
    with pytest.raises(ModelUnavailable, match=r"cannot be written: .*BIOCLIP_CACHE"):
        confirm_file(checkpoint, sha256(checkpoint.read_bytes()))


def test_the_detector_is_found_by_its_name_and_with_weights_behind_a_colon(confirmed: Path) -> None:
    manager = create_plugin_manager()
    assert manager.detector("speciesnet").name == "speciesnet"
    assert manager.detector(f"speciesnet:{confirmed}").version == "md_v5x.0.0"
    for given, reason in (
        ("none", "detector 'none' is not known; there are speciesnet"),
        ("speciesnet:", "names no weights"),
    ):
        with pytest.raises(UsageError, match=reason):
            manager.detector(given)
    with pytest.raises(BioclipError, match="does not exist"):
        manager.detector("speciesnet:no such file.pt").identity()


def test_a_file_of_absurd_size_is_refused_without_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "md.pt"
    with file.open("wb") as sparse:
        sparse.truncate(2**42)
    with pytest.raises(ModelUnavailable, match=r"has 4,398,046,511,104 bytes; up to"):
        of(file).identity()


def test_a_confirmed_file_that_is_no_checkpoint_is_read_once_and_not_for_each_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "md.pt"
    file.write_bytes(saved({"weights": [1, 2]}))
    confirm(sha256(file.read_bytes()), file.name, "confirmed")
    detector, reads = of(file), []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or original(path))  # type: ignore[func-returns-value]
    for _ in range(3):
        with pytest.raises(ModelError, match="not a YOLOv5 checkpoint"):
            detector.detect([picture(20, 30)], "cpu")
    assert reads.count(file) == 1
