"""Every published layout in small: what it is recognised as, and its records with their exact values."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.errors import SourceError, UsageError
from bioclip_training.published.known import layout_named, layouts, recognise
from bioclip_training.published.layout import COMMON_OPTIONS, ReadOptions
from bioclip_training.published.records import SOURCE_RECORDS

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def papers() -> Path:
    return Path(os.environ["BIOCLIP_DATA"]) / "data" / "papers_layouts"


@cache  # the fixtures of the papers do not change, and no test changes what it is given
def read(path: Path, layout: str = "", **settings: Any) -> tuple[str, list[dict[str, Any]], ReadOptions]:
    found, recognition = recognise(path, layout)
    assert recognition.layout == found.name
    options = ReadOptions(settings=settings)
    batches = list(found.read(path, options))
    assert all(batch.schema.equals(SOURCE_RECORDS) for batch in batches)
    return found.name, [row for batch in batches for row in batch.to_pylist()], options


def stated(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value not in ("", None)}


COUNTS = {
    "inat21": ("inat21", 10),
    "bioscan1m": ("bioscan-1m", 6),
    "bioscan5m": ("bioscan-5m", 6),
    "eol": ("eol", 6),
    "gbif": ("gbif", 8),
    "lila": ("lila", 4),
    "rare-species-hf": ("rare-species", 12),
    "rs-hyphen": ("rare-species", 12),
    "nabirds-original": ("nabirds", 8),
    "plantdoc": ("plantdoc", 16),
    "herbarium19": ("herbarium19", 12),
    "eval/rare_species": ("rare-species-table", 48),
    "idle-oo": ("idle-oo", 10),
    "birds525": ("birds525", 10),
    "fishnet": ("fishnet", 12),
    "meta-album-original/INS_2_Mini": ("meta-album", 10),
    "eval/nabirds": ("nabirds-table", 48),
    "newt": ("newt", 24),
    **{
        f"eval/meta-album/{name}_Mini": ("meta-album-table", 48)
        for name in ("FNG", "INS_2", "INS", "MED_LF", "PLK", "PLT_DOC", "PLT_NET", "PLT_VIL")
    },
}


@pytest.mark.parametrize("folder", COUNTS)
def test_each_layout_is_recognised_alone_and_gives_each_image_once(papers: Path, folder: str) -> None:
    name, rows, options = read(papers / folder)
    assert (name, len(rows)) == COUNTS[folder]
    assert len({row["record_id"] for row in rows}) == len(rows)
    if name not in ("gbif", "eol"):  # addresses, and a tar
        assert all((papers / folder / row["uri"]).is_file() for row in rows)
    assert options.skipped.count("rows without an image file") == 0
    assert options.findings.count("image files without a row") == 0


def test_inat21_has_place_date_and_common_name_of_its_json(papers: Path) -> None:
    _, rows, _ = read(papers / "inat21")
    row = next(row for row in rows if row["record_id"] == "5a921187-19c7-8df4-8f4f-f31e78de5857")
    folder = "Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris"
    assert stated(row) == {
        "record_id": "5a921187-19c7-8df4-8f4f-f31e78de5857",
        "uri": f"train/00000_{folder}/5a921187-19c7-8df4-8f4f-f31e78de5857.jpg",
        "verbatim_name": "Lumbricus terrestris",
        "kingdom": "Animalia", "phylum": "Annelida", "class": "Clitellata", "order": "Haplotaxida", "family": "Lumbricidae",
        "genus": "Lumbricus", "species": "terrestris", "source_taxon_id": "0",
        "common_name": "Common Earthworm", "common_name_language": "en",
        "rights_holder": "x", "event_date": "2019-01-01T10:00:00+00:00", "published_split": "train",
        "inat21_filename": "5a921187-19c7-8df4-8f4f-f31e78de5857.jpg", "inat21_cls_name": folder, "inat21_cls_num": "0",
        "latitude": 43.1, "longitude": -8.1,
    }  # fmt: skip


def test_folders_of_inat21_alone_give_the_same_ids_ranks_and_classes_as_its_json(papers: Path) -> None:
    kept = ("record_id", "kingdom", "phylum", "class", "order", "family", "genus", "species", "inat21_cls_name",
            "inat21_cls_num", "inat21_filename", "published_split")  # fmt: skip
    _, with_json, _ = read(papers / "inat21")
    _, without, _ = read(papers / "inat21" / "train")
    assert sorted([row[name] for name in kept] for row in with_json) == sorted(
        [row[name] for name in kept] for row in without
    )


def test_a_bold_bin_is_the_id_of_a_taxon_and_never_an_image(papers: Path) -> None:
    for folder, number in (("bioscan1m", "BOLD:AAA0001"), ("bioscan5m", "BOLD:AAA1111")):
        _, rows, _ = read(papers / folder)
        assert {row["source_taxon_id"] for row in rows} == {number}
        assert {row["url"] for row in rows} == {""}
        assert {(row["kingdom"], row["class"], row["genus"], row["species"]) for row in rows} == {
            ("Animalia", "Insecta", "", "")
        }


def test_jsonld_of_bioscan_gives_the_records_of_the_tsv(papers: Path) -> None:
    _, from_tsv, _ = read(papers / "bioscan1m")
    _, from_json, _ = read(papers / "bioscan1m", metadata="BIOSCAN_Insect_Dataset_metadata.jsonld")
    assert from_json == from_tsv


def test_pages_of_eol_have_the_names_of_their_chain_and_unknown_pages_none(papers: Path) -> None:
    _, rows, options = read(papers / "eol")
    known = [row for row in rows if row["eol_page_id"] == "9000"]
    assert {tuple(row[name] for name in ("kingdom", "genus", "species", "verbatim_name")) for row in known} == {
        ("Animalia", "Pomacentrus", "Pomacentrus moluccensis", "Pomacentrus moluccensis Bleeker, 1853")
    }
    assert {row["verbatim_name"] for row in rows if row["eol_page_id"] == "9001"} == {""}
    assert options.findings.count("images of pages that taxon.tab does not have; they have no name") == 3
    assert known[0]["uri"] == "image_set_01.tar.gz#100_9000_eol-full-size-copy.jpg"


def test_media_of_gbif_have_the_taxon_of_their_occurrence_and_their_own_licence(papers: Path) -> None:
    _, rows, _ = read(papers / "gbif")
    assert Counter(row["observation_id"] for row in rows) == {"1000": 2, "1001": 2, "1002": 2, "1003": 2}
    row = next(row for row in rows if row["url"] == "https://example.org/3.jpg")
    assert stated(row) == {
        "record_id": "1001 https://example.org/3.jpg", "url": "https://example.org/3.jpg", "verbatim_name": "Acer rubrum L.",
        "kingdom": "Plantae", "phylum": "Tracheophyta", "class": "Magnoliopsida", "order": "Sapindales", "family": "Sapindaceae",
        "genus": "Acer", "species": "rubrum", "taxon_rank": "SPECIES", "basis_of_record": "HUMAN_OBSERVATION", "licence": "CC",
        "rights_holder": "me", "observation_id": "1001", "event_date": "2020-01-01", "latitude": 1.0, "longitude": 2.0,
    }  # fmt: skip


def test_empty_images_of_camera_traps_are_skipped_or_kept_on_demand(papers: Path) -> None:
    _, rows, options = read(papers / "lila")
    assert Counter(row["verbatim_name"] for row in rows) == {"Vulpes vulpes": 2, "Canis latrans": 2}
    assert options.skipped.count("annotations say that there is no animal or plant") == 2
    assert {(row["event_id"], row["locality"]) for row in rows} >= {("loc1/s0", "loc1"), ("loc0/s1", "loc0")}
    _, rows, _ = read(papers / "lila", without_taxon="keep")
    assert Counter(row["caption"] for row in rows)["empty"] == 2


def test_the_class_of_rare_species_is_its_species_in_the_papers_table_and_a_rank_on_the_hub(papers: Path) -> None:
    _, rows, _ = read(papers / "eval/rare_species")
    shark = next(row for row in rows if row["genus"] == "Sphyrna")
    assert (shark["class"], shark["species"], shark["verbatim_name"]) == ("Chondrichthyes", "tiburo", "Sphyrna tiburo")
    _, rows, _ = read(papers / "rare-species-hf")
    cat = next(row for row in rows if row["genus"] == "Panthera")
    assert (cat["class"], cat["species"], cat["common_name"], cat["eol_page_id"]) == (
        "Mammalia",
        "uncia",
        "snow leopard",
        "45000",
    )
    assert cat["record_id"] == "e3e70682-c209-4cac-629f-6fbed82c07cd"


@pytest.mark.parametrize(
    ("folder", "caption"),
    [
        ("plantdoc", "Tomato leaf late blight"),
        ("eval/meta-album/PLT_VIL_Mini", "Pepper_bell___Bacterial_spot"),
        ("eval/meta-album/PLK_Mini", "Ciliate_mix"),
        ("eval/nabirds", "Red-necked Grebe (Nonbreeding/juvenile)"),
        ("herbarium19", "0"),
        ("newt", "x"),
    ],
)
def test_labels_that_are_no_taxa_stay_captions(papers: Path, folder: str, caption: str) -> None:
    _, rows, _ = read(papers / folder)
    assert caption in {row["caption"] for row in rows}
    ranks = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "verbatim_name")
    assert {row[rank] for row in rows for rank in ranks} == {""}


def test_labels_are_names_where_the_user_says_so(papers: Path) -> None:
    _, rows, _ = read(papers / "eval/meta-album/FNG_Mini", labels="scientific")
    assert "Mycena epipterygia (Scop.) Gray" in {row["verbatim_name"] for row in rows}


def test_a_folder_of_several_collections_names_them(papers: Path) -> None:
    with pytest.raises(SourceError, match=r"folders in it have: .*FNG_Mini \(meta-album-table\)"):
        recognise(papers / "eval" / "meta-album")


def test_a_layout_that_does_not_fit_says_what_it_needs(papers: Path) -> None:
    with pytest.raises(
        SourceError, match=r"plantdoc is not BIOSCAN-1M as published: needed is .*found is test/, train/"
    ):
        recognise(papers / "plantdoc", "bioscan-1m")
    with pytest.raises(UsageError, match=r"layout 'inat-21' is not known; known are inat21, .*did you mean inat21"):
        layout_named("inat-21")


def test_an_option_of_another_layout_is_refused_by_every_layout(papers: Path) -> None:
    for folder, (name, _) in COUNTS.items():
        with pytest.raises(UsageError, match=f"layout {name} has no option 'chapters'"):
            list(layout_named(name).read(papers / folder, ReadOptions(settings={"chapters": 1})))


def test_the_page_of_layouts_has_each_layout_and_each_of_its_options() -> None:
    page = (Path(__file__).parents[3] / "docs" / "published.md").read_text(encoding="utf-8")
    named = {
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w-]+)`", line.split("|")[1])
    }
    wanted = {layout.name for layout in layouts()} | {option.name for layout in layouts() for option in layout.options}
    assert named == wanted | {option.name for option in COMMON_OPTIONS}
