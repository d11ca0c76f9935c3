"""``classify --detector speciesnet`` from photographs to boxes in an export, with a random checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import code_bytes, of_package, picture, sha256
from command_samples import Bioclip
from PIL import Image, ImageOps

from bioclip_plugin.detectors import yolov5_model

TAXA = "kingdom,family,genus,specificEpithet\nFictia,Warmidae,Red,fictus\nFictia,Coldidae,Green,fictus\n"


def saved_photos(folder: Path) -> Path:
    """Save photographs of several shapes, one of them turned by its EXIF."""
    folder.mkdir()
    for number, shape in enumerate([(60, 80), (80, 60), (90, 160), (40, 40)]):
        photo, exif = Image.fromarray(picture(*shape, number)), Image.Exif()
        exif[0x0112] = 6 if number == 0 else 1
        photo.save(folder / f"{number}.jpg", quality=95, exif=exif)
    return folder


def classified(bioclip: Bioclip, photos: Path, weights: Path, threshold: float = 0.2) -> Any:
    """Return the entries of a MegaDetector file of the run, by file name."""
    Path("taxa.csv").write_text(TAXA)
    if not Path("labels").exists():
        assert bioclip("labels", "build", "taxa.csv", "--model", "fake", "--output", "labels").code == 0
    run = bioclip(
        "classify", photos, "--model", "fake", "--labels", "labels", "--store", f"{threshold}.db", "--device", "cpu",
        "--detector", f"speciesnet:{weights}", "--detection-threshold", threshold,
    )  # fmt: skip
    assert run.code == 0, run.err
    export = bioclip(
        "export", "--store", f"{threshold}.db", "--format", "megadetector", "--output", "md.json", "--force"
    )
    assert export.code == 0, export.err
    written = json.loads(Path("md.json").read_text())
    assert written["info"]["detector"].startswith("speciesnet")
    names = written["detection_categories"]
    return {
        Path(entry["file"]).name: [{**box, "category": names[box["category"]]} for box in entry["detections"]]
        for entry in written["images"]
    }


def upright(file: Path) -> Any:
    with Image.open(file) as photo:
        return np.asarray(ImageOps.exif_transpose(photo).convert("RGB"))


def test_boxes_in_an_export_are_those_of_the_package(
    bioclip: Bioclip, confirmed: Path, theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(theirs), "IMG_SIZE", 320)
    monkeypatch.setattr(yolov5_model, "SIDE", 320)
    photos = saved_photos(tmp_path / "photos")
    _compare(classified(bioclip, photos, confirmed, 0.05), photos, theirs, 0.05)


def _compare(entries: Any, photos: Path, theirs: Any, threshold: float) -> None:
    named = 0
    for file in sorted(photos.iterdir()):
        # Of two boxes at one place, the surer one is kept.
        wanted = {
            (box.category, *(round(value, 4) for value in box[:4])): box
            for box in reversed(of_package(theirs, upright(file)))
        }
        found = {(box["category"], *(round(value, 4) for value in box["bbox"])): box for box in entries[file.name]}
        assert found.keys() == wanted.keys()
        for key, box in found.items():
            assert box["conf"] == pytest.approx(wanted[key].confidence, abs=2e-3)
            is_named = "classifications" in box
            named += is_named
            assert is_named == (box["category"] == "animal" and wanted[key].confidence >= threshold)
    assert named > 0


def test_a_checkpoint_that_nobody_confirmed_ends_the_command_before_any_work(
    bioclip: Bioclip, checkpoint: Path, tmp_path: Path
) -> None:
    photos = saved_photos(tmp_path / "photos")
    marker = tmp_path / "executed"
    checkpoint.write_bytes(code_bytes(marker))
    refused = bioclip(
        "classify", photos, "--model", "fake", "--store", "results.db", "--detector", f"speciesnet:{checkpoint}"
    )
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
    assert f"models trust {checkpoint} --sha256 {sha256(checkpoint.read_bytes())}" in refused.err
    assert not marker.exists()
    assert not Path("results.db").exists()


@pytest.mark.shared_data
def test_boxes_of_real_photographs_are_those_of_the_package(
    bioclip: Bioclip, confirmed: Path, theirs: Any, tmp_path: Path
) -> None:
    samples = Path(os.environ["BIOCLIP_DATA"]).resolve() / "data" / "camera_trap_samples"
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("african_elephants_with_exif_orientation.jpg", "vehicle.jpg"):
        (photos / name).write_bytes((samples / name).read_bytes())
    _compare(classified(bioclip, photos, confirmed), photos, theirs, 0.2)
