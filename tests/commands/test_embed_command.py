"""``embed``: features in a Parquet file that other programs can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_samples import Bioclip
from pyarrow import parquet

from bioclip_core.errors import BioclipError
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.testing import FakeModel


def test_each_image_is_a_row_with_its_features(bioclip: Bioclip, photos: Path) -> None:
    (photos / "zero.jpg").unlink()
    said = bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet")
    rows = parquet.read_table("e.parquet").to_pylist()
    assert said.code == 0
    assert {row["uri"]: row["emb"] for row in rows} == {
        "photos/blue.png": [0, 0, 1], "photos/green.png": [0, 1, 0], "photos/red.png": [1, 0, 0],
    }  # fmt: skip
    assert [row["region_x"] for row in rows] == [None] * 3
    assert len({row["uuid"] for row in rows}) == 3


@pytest.mark.parametrize("asked", ["auto", "fp32", "bf16"])
def test_the_file_states_the_origin_of_its_features(
    bioclip: Bioclip, photos: Path, model: FakeModel, precision: str, asked: str
) -> None:
    bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet", "--precision", asked)
    about = json.loads(parquet.read_schema("e.parquet").metadata[b"bioclip_plugin"])
    assert about["feature_settings"]["weights_sha256"] == model.encoder.identity["weights_sha256"]
    assert about["feature_settings"]["precision"] == (precision if asked == "auto" else asked)
    assert about["feature_settings"]["preprocessing"]["size"] == 8
    assert about["dimension"] == 3


def test_features_have_the_identity_under_which_a_run_stores_them(
    bioclip: Bioclip, classified: str, photos: Path
) -> None:
    bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet")
    about = json.loads(parquet.read_schema("e.parquet").metadata[b"bioclip_plugin"])
    run = json.loads(bioclip("runs", "show", "--store", classified, "--json").out)
    assert (about["feature_id"], about["feature_settings"]) == (run["feature_id"], run["feature_settings"])


def test_a_box_of_a_table_is_a_row_of_its_own(bioclip: Bioclip, photos: Path) -> None:
    Path("boxes.csv").write_text(
        "image,bboxX,bboxY,bboxWidth,bboxHeight\n"
        f"{photos / 'red.png'},0,0,0.5,0.5\n{photos / 'red.png'},0.5,0.5,0.5,0.5\n"
    )  # fmt: skip
    bioclip("embed", "boxes.csv", "--model", "fake", "--output", "e.parquet")
    rows = parquet.read_table("e.parquet").to_pylist()
    assert [[row[f"region_{side}"] for side in "xywh"] for row in rows] == [[0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
    assert rows[0]["uuid"] != rows[1]["uuid"]


def test_a_row_has_the_same_identifier_in_every_file(bioclip: Bioclip, photos: Path) -> None:
    from bioclip_plugin.commands.embed import row_uuid

    whole = row_uuid(MediaItem("a.jpg"), None)
    assert whole == row_uuid(MediaItem("a.jpg", deployment="CAM01"), None)
    others = {row_uuid(MediaItem("b.jpg"), None), row_uuid(MediaItem("a.jpg", frame=1), None),
              row_uuid(MediaItem("a.jpg"), Region(0, 0, 1, 1))}  # fmt: skip
    assert whole not in others
    assert len(others) == 3


def test_an_image_that_cannot_be_read_is_named_and_the_exit_code_says_so(bioclip: Bioclip, photos: Path) -> None:
    said = bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet")
    assert said.code == 3
    assert "Failed: photos/zero.jpg: the file is empty (0 bytes)" in said.out
    assert "4 images, 3 done, 1 failed, 3 regions" in said.out
    assert parquet.read_metadata("e.parquet").num_rows == 3


def test_an_existing_output_stays_and_no_image_is_encoded(bioclip: Bioclip, photos: Path, model: FakeModel) -> None:
    Path("e.parquet").write_text("mine")
    refused = bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet")
    assert (refused.code, model.encoder.images_encoded, Path("e.parquet").read_text()) == (1, 0, "mine")
    assert bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet", "--force").code == 3


def test_a_model_that_cannot_be_opened_leaves_no_file(
    bioclip: Bioclip, photos: Path, model: FakeModel, tmp_path: Path
) -> None:
    del model.encoder  # which the entry's open_encoder returns
    refused = bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet")
    assert refused.code == 1
    assert "opening the model fake failed: AttributeError" in refused.err
    assert not [path for path in tmp_path.iterdir() if "parquet" in path.name]


def test_images_at_which_the_model_of_a_plugin_fails_are_failures_with_its_name(
    bioclip: Bioclip, photos: Path, model: FakeModel
) -> None:
    def broken(_images: object) -> None:
        raise BioclipError("the model broke")

    model.encoder.encode_images = broken  # type: ignore[method-assign,assignment]
    said = bioclip("embed", photos.name, "--model", "fake", "--output", "e.parquet")
    assert said.code == 3
    assert "4 images, 0 done, 4 failed, 0 regions" in said.out
    assert "Failed: photos/blue.png: plugin FakeModel: the model broke" in said.out


@pytest.mark.parametrize("path", ["nowhere", "photos/none.jpg"])
def test_a_path_that_does_not_exist_is_refused(bioclip: Bioclip, photos: Path, path: str) -> None:
    refused = bioclip("embed", path, "--model", "fake", "--output", "e.parquet")
    assert refused.code == 1
    assert path in refused.err
