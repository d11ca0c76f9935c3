"""The model card of a checkpoint: a header that the hub accepts, the data with their licences, limits, and figures with their n."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from collections_of_discs import TAXA
from pyarrow import parquet

from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from
from bioclip_training.loop.model_card import CardFacts, model_card


def catalog_of(folder: Path, licences: list[str]) -> Catalog:
    """Write a catalog of 24 images of two taxa; a third one has no image in train."""
    rows = [
        CatalogRow(f"{n}.jpg", TAXA[n % 2], source="survey|2024", group=f"g{n // 2}", split="train", licence=licences[n % len(licences)])
        for n in range(24)
    ]  # fmt: skip
    rows.append(CatalogRow("new.jpg", TAXA[2], source="survey|2024", group="new", split="unseen"))
    parquet.write_table(table_from(rows), folder / "catalog.parquet")
    return Catalog.open(folder / "catalog.parquet")


def facts(catalog: Catalog, **changes: Any) -> CardFacts:
    rung = {"name": "full, trained", "top1": 0.75, "top1_ci95": [0.5, 0.9], "images": 12, "groups": 6}
    config = {"start": "bioclip-2", "method": "lora", "batch_size": 32, "loss": "taxon", "seed": 3, "dev_fraction": 0.0}
    known = CardFacts(
        "/data/my_model", config, 150, {"rungs": [rung], "rule": "the last step is kept"}, "dev: 12 images in 6 groups", True,
        {"data": "x", "val": {"images": 4, "same_file_as_in_train": 1, "same_group_as_in_train": 2, "taxa_of_train": 4}},
        {"device": "cpu", "torch": "2.6"}, catalog, None, "MIT", "Gu et al. 2025", "hf-hub:imageomics/bioclip-2",
    )  # fmt: skip
    return replace(known, **changes)


def header(card: str) -> dict[str, Any]:
    """Read the YAML header of a card as the hub does."""
    import yaml

    assert card.startswith("---\n")
    read: dict[str, Any] = yaml.safe_load(card[4 : card.index("\n---\n")])
    return read


def test_a_card_is_filled_in_with_data_licences_limits_and_figures(tmp_path: Path) -> None:
    card = model_card(facts(catalog_of(tmp_path, ["CC BY 4.0", "CC0"])))
    for text in (
        "# my_model", "my_model (fine-tuned from bioclip-2 with LoRA)", "24 labelled images", "24 images in 12 groups",
        "| survey\\|2024 | 24 |", "| CC BY 4.0 | 12 |", "| CC0 | 12 |", "| train | 24 |", "| unseen | 1 |",
        "Images per taxon in training: 12 to 12, median 12; 0 of 2 taxa have fewer than 10.",
        f"1 taxa of the label set have no training image and are known by name only: {TAXA[2].scientific_name}.",
        "3 images of `val` share a file or group with training",
        "| full, trained | 75.0% (50.0% to 90.0%) | 12 | 6 |", "licence MIT", "allow any use with attribution", "Gu et al. 2025",
        "open_clip 3.0 or newer",
    ):  # fmt: skip
        assert text in card, text
    dev = {
        **facts(catalog_of(tmp_path, ["CC0"])).config,
        "dev_fraction": 0.3,
        "start": "local-dir:/home/ada/secret/base",
    }
    card_with_dev = model_card(facts(catalog_of(tmp_path, ["CC0"]), config=dev))
    learnt, measured = (len(catalog_of(tmp_path, ["CC0"]).rows_of(part, dev_fraction=0.3)) for part in ("train", "dev"))
    assert 0 < learnt == 24 - measured < 24
    for text in (
        f"{learnt} labelled images; {measured} further ones, the part `dev`, were not learnt from but measured on",
        f"**Trained on**: `catalog.parquet`, {learnt} images in {learnt // 2} groups", f"| survey\\|2024 | {learnt} |",
        f"| train | {learnt} |", f"| dev | {measured} |", f"| CC0 | {learnt} |",
    ):  # fmt: skip
        assert text in card_with_dev, text
    assert "Images per taxon in training: 12 to 12" not in card_with_dev
    assert "secret" not in card_with_dev
    assert header(card) | {"tags": []} == {
        "library_name": "open_clip", "pipeline_tag": "zero-shot-image-classification", "license": "mit", "tags": [],
        "base_model": "imageomics/bioclip-2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("licence", "is_open"),
    [
        ("CC BY 4.0 licence", True), ("http://creativecommons.org/licenses/by/4.0/legalcode", True), ("CC_BY_4_0", True),
        ("https://creativecommons.org/publicdomain/zero/1.0/", True), ("Public Domain", True), ("cc0", True),
        ("CC BY-NC 4.0", False), ("http://creativecommons.org/licenses/by-nc/4.0/", False), ("CC_BY_NC_4_0", False),
        ("CC-BY-ND", False), ("CC BY-SA 4.0", False), ("All rights reserved", False), ("", False), ("limited use", False),
        ("Creative Commons Attribution Non-Commercial", False),
    ],
)  # fmt: skip
def test_a_licence_that_may_bind_the_model_leaves_the_choice_to_a_person(
    tmp_path: Path, licence: str, is_open: bool
) -> None:
    card = model_card(facts(catalog_of(tmp_path, ["CC0", licence])))
    assert header(card)["license"] == ("mit" if is_open else "other")
    assert ("may bind the model" in card) is not is_open
    if not is_open:
        assert f"{licence or 'not stated'} (12 images)" in card


def test_no_entry_of_the_header_is_empty_for_a_model_from_nothing(tmp_path: Path) -> None:
    config = {**facts(catalog_of(tmp_path, [""])).config, "start": "new:small", "method": "full"}
    card = model_card(
        facts(catalog_of(tmp_path, [""]), config=config, start_licence="", start_citation="", start_source="", ladder={
            "rungs": [], "rule": "the last step is kept", "recommendation": None,
        })
    )  # fmt: skip
    assert "my_model (trained from nothing)" in card
    assert "Trained from random weights." in card
    found = header(card)
    assert found["license"] == "other"
    assert None not in found.values()
    assert "base_model" not in found


def test_what_a_curation_found_of_evaluation_sets_is_stated(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, ["CC0"] * 3)
    found = {"records": 1200, "items": 3, "excluded": True}
    catalog.leakage = {
        "rare_species": {"taxa": "exclude", "leaks": {"image": found, "taxon": found}},
        "nabirds": {"taxa": "report", "leaks": {"taxon": {**found, "excluded": False}}},
        "birds525": {"taxa": "report", "leaks": {}},
    }
    card = model_card(facts(catalog))
    assert "- Evaluation set rare_species: images that leak into it and were left out: 2,400.\n" in card
    assert (
        "- Evaluation set nabirds: images that leak into it and were left out: 0; images of its species that are in the collection, so "
        "that these are not unseen: 1,200.\n"
    ) in card
    assert "- Evaluation set birds525: images that leak into it and were left out: 0.\n" in card
