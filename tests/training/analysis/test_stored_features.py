"""Images of an analysis and their features: chosen, kept in parts, made again only where something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from analysis_samples import TAXA, analysed_catalog
from pyarrow import parquet

from bioclip_core.device import Compute
from bioclip_core.errors import DataError, SourceError
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.progress import silent
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.testing import FakeModel
from bioclip_training.analysis.config import AnalysisConfig
from bioclip_training.analysis.selection import select
from bioclip_training.analysis.stored_features import Encoded, encoded_rows
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from

CPU = Compute("cpu", "fp32", "for tests")
PART = "bioclip_training.analysis.stored_features.PART_IMAGES"


class Model:
    """A fake model, found."""

    def __init__(self, name: str = "fake") -> None:
        self.fake = FakeModel(name)
        entries: list[ModelEntry] = []
        self.fake.register_models(entries.append)
        self.found: FoundModel = find_model(name, {name: entries[0]})

    def encoded(self, catalog: Catalog, rows: np.ndarray, folder: Path) -> Encoded:
        return encoded_rows(catalog, rows, self.found, CPU, folder, lambda: self.fake.encoder, silent)


def test_an_interrupted_encoding_goes_on_and_a_damaged_part_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, rows, model = Catalog.open(analysed_catalog(tmp_path)), np.arange(64), Model()
    whole = model.encoded(catalog, rows, tmp_path / "whole")
    monkeypatch.setattr(PART, 16)
    encode, calls = model.fake.encoder.encode_images, iter(range(100))

    def stops(images: np.ndarray) -> np.ndarray:
        if next(calls) >= 2:
            raise KeyboardInterrupt
        return encode(images)

    monkeypatch.setattr(model.fake.encoder, "encode_images", stops)
    with pytest.raises(KeyboardInterrupt):
        model.encoded(catalog, rows, tmp_path / "parts")
    monkeypatch.setattr(model.fake.encoder, "encode_images", encode)
    parts = sorted((tmp_path / "parts").rglob("part-*.npz"))
    assert len(parts) == 2
    parts[0].write_bytes(parts[0].read_bytes()[:50])
    model.fake.encoder.images_encoded = 0
    found = model.encoded(catalog, rows, tmp_path / "parts")
    assert found.reused == 16
    assert model.fake.encoder.images_encoded == 48
    assert np.array_equal(found.features_ND, whole.features_ND)
    assert np.array_equal(found.rows_N, rows)


def test_features_of_another_model_or_catalog_are_never_taken(tmp_path: Path) -> None:
    catalog, rows = Catalog.open(analysed_catalog(tmp_path / "one")), np.arange(8)
    assert Model().encoded(catalog, rows, tmp_path / "kept").reused == 0
    assert Model().encoded(catalog, np.arange(12), tmp_path / "kept").reused == 8
    assert Model("other").encoded(catalog, rows, tmp_path / "kept").reused == 0
    fewer = Catalog.open(analysed_catalog(tmp_path / "two", images=4))
    assert Model().encoded(fewer, rows, tmp_path / "kept").reused == 0


def test_images_that_cannot_be_used_are_named_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PART, 2)  # the first part has no usable image
    catalog, rows = Catalog.open(analysed_catalog(tmp_path)), np.arange(8)
    images = [tmp_path / f"s0-{number}.png" for number in range(8)]
    whole = [image.read_bytes() for image in images]
    for image in images[:2]:
        image.write_bytes(b"no image")
    found = Model().encoded(catalog, rows, tmp_path / "kept")
    assert found.rows_N.tolist() == [2, 3, 4, 5, 6, 7]
    assert sorted(found.failures) == [0, 1]
    for image, data in zip(images, whole, strict=True):
        image.write_bytes(data)
    again = Model().encoded(catalog, rows, tmp_path / "kept")
    assert (again.reused, len(again.rows_N), again.failures) == (6, 8, {})


def test_a_catalog_without_a_usable_image_is_refused(tmp_path: Path) -> None:
    catalog = Catalog.open(analysed_catalog(tmp_path))
    for image in tmp_path.glob("*.png"):
        image.write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"none of 64 images of .* could be used; the first is s0-0\.png"):
        Model().encoded(catalog, np.arange(64), tmp_path / "kept")


def chosen(folder: Path, rows: list[CatalogRow], **options: object) -> tuple[list[int], tuple[str, ...]]:
    parquet.write_table(table_from(rows), folder / "chosen.parquet")
    file = folder / "chosen.parquet"
    config = AnalysisConfig(data=str(file), model="fake", output=str(folder / "out"), **options)  # type: ignore[arg-type]
    found = select(config, Catalog.open(file), [Model().found])
    return found.rows_N.tolist(), found.remarks


def test_labels_that_others_lie_within_and_labels_without_a_name_are_left_out_and_said(tmp_path: Path) -> None:
    genus = Taxon(*TAXA[0].lineage[:6])
    taxa = [TAXA[0], genus, Taxon(), TAXA[2], genus]
    rows, remarks = chosen(
        tmp_path, [CatalogRow(f"{place}.png", taxon, split="val") for place, taxon in enumerate(taxa)]
    )
    assert rows == [0, 3]
    assert remarks == (
        "1 image without a name at any rank: left out",
        "2 images with the name of a taxon that others lie within: left out (the first: Genus000, a genus)",
    )


def test_many_images_are_drawn_from_the_species_in_turn(tmp_path: Path) -> None:
    listed = [CatalogRow(f"{place}.png", TAXA[place >= 20], split="val") for place in range(24)]
    rows, remarks = chosen(tmp_path, listed, most_images=8)
    assert sum(row >= 20 for row in rows) == 4
    assert remarks == (
        "8 of 24 images are analysed, drawn from the species in turn; --most-images takes another number",
    )


def test_another_part_with_more_images_per_species_is_named(tmp_path: Path) -> None:
    """With two images of a species nothing varies in a half; ``train`` is named only if no part that is held out has more."""

    def listed(**each: int) -> list[CatalogRow]:
        parts = [(part, count) for part, count in each.items() for _ in range(count)]
        return [
            CatalogRow(f"{taxon.genus}-{number}.png", taxon, split=part)
            for taxon in TAXA
            for number, (part, _) in enumerate(parts)
        ]

    needs = "0 species of val have 4 images in 2 groups, and a conclusion on variation within species takes 20; "
    assert chosen(tmp_path, listed(val=2))[1] == ()
    assert chosen(tmp_path, listed(val=2, unseen=4, train=9))[1] == (f"{needs}--split unseen has 8 such species",)
    assert chosen(tmp_path, listed(val=2, unseen=3, train=9))[1] == (
        f"{needs}--split train has 8 such species (images that a model may have learnt from)",
    )


def test_one_species_has_no_structure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 species with images; the structure of a space needs at least two"):
        chosen(tmp_path, [CatalogRow("1.png", TAXA[0], split="val")])
