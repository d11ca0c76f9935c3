"""Export of identifications: one machine row per specimen, rows of reviewers, their images, and identical bytes each time."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from darwin_store import (
    EXPORTER,
    FOX,
    MODEL,
    PLAN,
    VULPES,
    WOLF,
    answered,
    exported,
    identifications,
    specimen,
    table,
)

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.darwin_core.read import DarwinCoreSource
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import ReviewTarget, Store

BOX, OTHER = Region(0.1, 0.2, 0.3, 0.4, "md", "5", "animal", 0.9), Region(0.5, 0.5, 0.5, 0.5, "md", "5", "animal", 0.8)
PERSON = Region(0.0, 0.0, 0.2, 0.2, "md", "5", "person", 0.9, classified=False)
REVIEWED = datetime(2025, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


def test_a_specimen_has_one_machine_row_in_the_collections_own_terms(store: Store, tmp_path: Path) -> None:
    run = answered(store, [(specimen("photos/a.jpg"), [(None, FOX, 0.9)])])
    folder = exported(store, tmp_path / "out")
    (row,) = identifications(folder)
    (image,) = table(folder, "multimedia.txt")
    assert run.ended_at is not None
    name = row.pop("identificationID")
    assert uuid.UUID(name).version == 5
    assert row == {
        "coreid": "s1", "identifiedBy": "bioclip-2 (imageomics/bioclip-2@abc123)",
        "identifiedByID": "https://huggingface.co/imageomics/bioclip-2/tree/abc123",
        "dateIdentified": run.ended_at.strftime("%Y-%m-%dT%H:%M:%SZ"), "scientificName": "Vulpes fictus", "taxonRank": "species",
        "kingdom": "Animalia", "phylum": "Chordata", "class": "Mammalia", "order": "Carnivora", "family": "Canidae",
        "genus": "Vulpes", "specificEpithet": "fictus", "taxonID": "id-7", "nameAccordingTo": "BioCLIP label set 1234567890abcdef",
        "identificationVerificationStatus": "unverified", "identificationReferences": image["identifier"],
        "identificationRemarks": f"Machine identification, probability 0.9000; run {run.id} ({run.key[:12]}) of bioclip-plugin 0.9",
    }  # fmt: skip
    assert (image["type"], image["format"], image["accessURI"]) == ("StillImage", "image/jpeg", "a.jpg")


def test_images_of_one_specimen_vote_and_all_their_candidates_stand_beside(store: Store, tmp_path: Path) -> None:
    answered(store, [
        (specimen("photos/a.jpg"), [(None, FOX, 0.6)]),
        (specimen("photos/x.jpg", {"occurrenceID": "s2"}), [(None, WOLF, 0.9)]),
        (specimen("photos/b.jpg"), [(None, WOLF, 0.9)]),
        (specimen("photos/c.jpg"), [(None, FOX, 0.7)]),
    ])  # fmt: skip
    folder = exported(store, tmp_path / "out", top=1)
    first, second = identifications(folder)
    assert [(row["coreid"], row["scientificName"]) for row in (first, second)] == [
        ("s1", "Vulpes fictus"),
        ("s2", "Canis fictus"),
    ]
    assert "probability 0.7000, 2 of 3 images agree; run" in first["identificationRemarks"]
    ids = {row["accessURI"]: row["identifier"] for row in table(folder, "multimedia.txt")}
    assert first["identificationReferences"] == f"{ids['c.jpg']} | {ids['a.jpg']}"
    assert [(row["coreid"], row["accessURI"]) for row in table(folder, "multimedia.txt")] == [
        ("s1", "a.jpg"), ("s1", "b.jpg"), ("s1", "c.jpg"), ("s2", "x.jpg"),
    ]  # fmt: skip
    candidates = [
        row for row in table(folder, "candidates.tsv") if row["occurrenceID"] == "s1" and row["level"] == "species"
    ]
    assert [
        (row["mediaID"], row.get("identificationID"), row["scientificName"], row["probability"]) for row in candidates
    ] == [
        (ids["a.jpg"], first["identificationID"], "Vulpes fictus", "0.600000"),
        (ids["b.jpg"], None, "Canis fictus", "0.900000"),
        (ids["c.jpg"], first["identificationID"], "Vulpes fictus", "0.700000"),
    ]
    assert {row["model"] for row in candidates} == {"bioclip-2 (imageomics/bioclip-2@abc123)"}


def test_a_camera_trap_image_is_an_occurrence_and_its_box_a_region_of_interest(store: Store, tmp_path: Path) -> None:
    item = MediaItem(
        "trap/cam1/a.jpg", captured_at=datetime(2024, 3, 4, 5, 6, 7), place=Place("BE", "Namur", 50.123456, 4.2)
    )
    answered(store, [(item, [(BOX, FOX, 0.9), (OTHER, WOLF, 0.8), (PERSON, None, 0)])])
    folder = exported(store, tmp_path / "out", coordinate_precision=2, time_zone="+01:00")
    occurrences = table(folder, "occurrence.txt")
    assert [re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", row["id"]) is not None for row in occurrences] == [True, True]
    assert occurrences[0] == {
        "id": occurrences[0]["id"], "occurrenceID": occurrences[0]["id"], "basisOfRecord": "MachineObservation",
        "eventDate": "2024-03-04T05:06:07+01:00", "countryCode": "BE", "stateProvince": "Namur", "decimalLatitude": "50.12",
        "decimalLongitude": "4.20", "geodeticDatum": "EPSG:4326", "coordinatePrecision": "0.01",
    }  # fmt: skip
    whole, first, whole_again, second = table(folder, "multimedia.txt")
    assert (whole["accessURI"], whole["identifier"]) == ("a.jpg", whole_again["identifier"])
    assert first["isROIOf"] == second["isROIOf"] == whole["identifier"]
    assert [first[term] for term in ("xFrac", "yFrac", "widthFrac", "heightFrac")] == ["0.1", "0.2", "0.3", "0.4"]
    fox, wolf = identifications(folder)
    assert (fox["scientificName"], fox["identificationReferences"]) == ("Vulpes fictus", first["identifier"])
    assert (wolf["coreid"], wolf["identificationReferences"]) == (second["coreid"], second["identifier"])


def test_names_of_taxa_are_not_written_where_they_would_look_accepted(store: Store, tmp_path: Path) -> None:
    catalogued = {
        "occurrenceID": "s1",
        "scientificName": "Lynx lynx",
        "genus": "Lynx",
        "identificationVerificationStatus": "verified",
    }
    answered(store, [(specimen("a.jpg", catalogued), [(None, FOX, 0.9)])])
    folder = exported(store, tmp_path / "out")
    assert "Lynx" not in (folder / "occurrence.txt").read_text()
    meta = (folder / "meta.xml").read_text()
    core = meta[: meta.index("</core>")]
    assert not any(word in core for word in ("scientificName", "taxonRank", "acceptedName"))
    assert "urrent" not in meta
    assert "ccepted" not in meta


@pytest.mark.parametrize(
    ("catalogued", "occurrence"),
    [
        ({"occurrenceID": "urn:x:1", "catalogNumber": "7"}, "urn:x:1"),
        ({"institutionCode": "NHM", "collectionCode": "Mammals", "catalogNumber": "7"}, "NHM:Mammals:7"),
        ({"catalogNumber": 7}, "7"),
    ],
)
def test_a_specimen_goes_by_the_collections_own_id(
    store: Store, tmp_path: Path, catalogued: dict[str, str], occurrence: str
) -> None:
    answered(store, [(specimen("a.jpg", catalogued), [(None, FOX, 0.9)])])
    folder = exported(store, tmp_path / "out")
    (row,) = table(folder, "occurrence.txt")
    assert (row["id"], row.get("catalogNumber", "7")) == (occurrence, "7")
    assert "basisOfRecord" not in row  # only the collection knows if it is a fossil


def test_an_answer_that_is_not_a_taxon_gives_no_identification_and_is_counted(store: Store, tmp_path: Path) -> None:
    words = Taxon(common_name="a red fish")
    answered(store, [
        (specimen("a.jpg", {"occurrenceID": "s1"}), [(None, None, 0.3)]),
        (specimen("b.jpg", {"occurrenceID": "s2"}), [(None, words, 0.9)]),
        (specimen("c.jpg", {"occurrenceID": "s3"}), [(PERSON, None, 0)]),
        (specimen("d.jpg", {"occurrenceID": "s4"}, detected=True), []),
    ])  # fmt: skip
    folder = exported(store, tmp_path / "out")
    assert [
        len(table(folder, name))
        for name in ("occurrence.txt", "identification.txt", "multimedia.txt", "candidates.tsv")
    ] == [0] * 4
    counts = json.loads((folder / "provenance.json").read_text())["counts"]
    assert counts["identifications"] == 0
    assert counts["left_out"]["no scientific name"] == 1
    assert sum(counts["left_out"].values()) == 2


@pytest.mark.parametrize(
    ("taxon", "name", "rank"),
    [
        (VULPES, "Vulpes", "genus"),
        (Taxon("Plantae", "", "", "", "Rosaceae", "", "palmatum"), "Rosaceae", "family"),
        (Taxon("Plantae", "", "", "", "Rosaceae", "Prunus", "× schmittii"), "Prunus × schmittii", "species"),
        (Taxon("Animalia"), "Animalia", "kingdom"),
    ],
)
def test_the_name_is_whole_and_of_the_rank_that_was_decided(
    store: Store, tmp_path: Path, taxon: Taxon, name: str, rank: str
) -> None:
    answered(store, [(specimen("a.jpg"), [(None, taxon, 0.9)])])
    (row,) = identifications(exported(store, tmp_path / "out"))
    assert (row["scientificName"], row["taxonRank"]) == (name, rank)
    assert row.get("specificEpithet", "") in ("", "schmittii")


def test_a_persons_identification_goes_out_beside_the_machines_as_that_persons(store: Store, tmp_path: Path) -> None:
    answered(
        store,
        [(specimen("a.jpg"), [(None, FOX, 0.9)]), (specimen("b.jpg", {"occurrenceID": "s2"}), [(None, FOX, 0.9)])],
    )
    said = [("A. Curator", FOX), ("A. Curator", WOLF), ("B. Curator 0000-0002-1825-0097", VULPES)]
    for reviewer, taxon in said:
        store.add_review(
            ReviewTarget("media", "a.jpg"),
            "taxon",
            taxon,
            reviewer=reviewer,
            reviewed_at=REVIEWED,
            comment="seen\ttwice",
        )
    store.add_review(ReviewTarget("media", "b.jpg"), "taxon", WOLF, reviewer="A. Curator", reviewed_at=REVIEWED)
    store.add_review(ReviewTarget("media", "b.jpg"), "unidentifiable", reviewer="A. Curator")
    machine, first, second, other = identifications(exported(store, tmp_path / "out"))
    assert machine["scientificName"] == "Vulpes fictus"
    assert {term: first[term] for term in ("coreid", "identifiedBy", "dateIdentified", "scientificName", "identificationRemarks")} == {
        "coreid": "s1", "identifiedBy": "A. Curator", "dateIdentified": "2025-05-06T07:08:09Z", "scientificName": "Canis fictus",
        "identificationRemarks": "seen twice",
    }  # fmt: skip
    assert "identificationVerificationStatus" not in first
    assert (second["scientificName"], second["identifiedByID"]) == ("Vulpes", "https://orcid.org/0000-0002-1825-0097")
    assert other["identifiedBy"].startswith("bioclip-2")


def test_a_review_of_a_box_belongs_to_the_animal_in_the_box(store: Store, tmp_path: Path) -> None:
    answered(
        store, [(MediaItem("a.jpg"), [(BOX, FOX, 0.9), (OTHER, FOX, 0.8)]), (MediaItem("b.jpg"), [(BOX, FOX, 0.7)])]
    )
    store.add_review(ReviewTarget("region", "a.jpg", region=OTHER), "taxon", WOLF, reviewer="A", reviewed_at=REVIEWED)
    store.add_review(ReviewTarget("media", "b.jpg"), "taxon", WOLF, reviewer="A", reviewed_at=REVIEWED)
    rows = identifications(exported(store, tmp_path / "out"))
    said = [(row["identifiedBy"][:7], row["scientificName"].split()[0]) for row in rows]
    assert said == [("bioclip", "Vulpes"), ("bioclip", "Vulpes"), ("A", "Canis"), ("bioclip", "Vulpes"), ("A", "Canis")]
    assert rows[1]["coreid"] == rows[2]["coreid"] != rows[0]["coreid"]
    assert rows[3]["coreid"] == rows[4]["coreid"]  # b.jpg has a single box, so the review of the image belongs to it


def test_the_same_answer_has_the_same_id_in_another_run_and_another_model_has_another(
    store: Store, tmp_path: Path
) -> None:
    content = [(specimen("a.jpg"), [(None, FOX, 0.9)])]
    newer = {**PLAN.provenance, "bioclip_plugin": "1.0"}
    runs = [
        answered(store, content),
        answered(store, content, rule_id="r2", provenance=newer),
        answered(
            store, content, feature_id="f2", answer_id="a2", rule_id="r3", feature_settings={"weights_sha256": "w2"}
        ),
    ]
    names = [identifications(exported(store, tmp_path / str(run.id), run))[0]["identificationID"] for run in runs]
    assert names[0] == names[1] != names[2]


def test_the_same_store_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    answered(
        store, [(specimen(f"photos/{n}.jpg", {"occurrenceID": f"s{n % 7}"}), [(None, FOX, 0.9)]) for n in range(20)]
    )
    first, second = (exported(store, tmp_path / name, title="T <&>", licence="CC0-1.0") for name in ("one", "two"))
    files = sorted(path.name for path in first.iterdir())
    assert files == [
        "candidates.tsv",
        "eml.xml",
        "identification.txt",
        "meta.xml",
        "multimedia.txt",
        "occurrence.txt",
        "provenance.json",
    ]
    assert [(first / name).read_bytes() for name in files] == [(second / name).read_bytes() for name in files]
    assert "T &lt;&amp;&gt;" in (first / "eml.xml").read_text()
    provenance = (first / "provenance.json").read_text()
    assert "secret-host" not in provenance
    assert json.loads(provenance)["model"]["revision"] == MODEL["revision"]


def test_python_dwca_reader_reads_the_archive(store: Store, tmp_path: Path) -> None:
    from dwca.darwincore.utils import qualname
    from dwca.read import DwCAReader

    answered(store, [(specimen("photos/a.jpg"), [(None, FOX, 0.9)]), (MediaItem("photos/b.jpg"), [(BOX, WOLF, 0.8)])])
    with DwCAReader(str(exported(store, tmp_path / "out"))) as reader:
        assert reader.descriptor.core.type == "http://rs.tdwg.org/dwc/terms/Occurrence"
        assert reader.descriptor.extensions_type == [
            "http://rs.tdwg.org/dwc/terms/Identification", "http://rs.tdwg.org/ac/terms/Multimedia",
        ]  # fmt: skip
        assert reader.metadata.find("dataset/title").text.startswith("Identifications by bioclip-2")
        assert not any(any(rows.values()) for rows in reader.orphaned_extension_rows().values())
        rows = [(row.id, row.data[qualname("occurrenceID")], row.extensions) for row in reader]
    assert [(name, occurrence == name) for name, occurrence, _ in rows] == [("s1", True), (rows[1][0], True)]
    named = [
        [one.data[qualname("scientificName")] for one in rows if one.rowtype.endswith("Identification")]
        for _, _, rows in rows
    ]
    assert named == [["Vulpes fictus"], ["Canis fictus"]]
    assert [len(extensions) for _, _, extensions in rows] == [2, 3]
    assert rows[1][2][2].data["http://rs.tdwg.org/ac/terms/widthFrac"] == "0.3"


def test_our_own_source_reads_the_images_and_regions_back(store: Store, tmp_path: Path) -> None:
    answered(store, [(MediaItem("photos/b.jpg"), [(BOX, WOLF, 0.8)])])
    folder = exported(store, tmp_path / "out")
    (item,) = DarwinCoreSource().items(str(folder), ListingOptions())
    assert isinstance(item, MediaItem)
    assert item.uri == str(folder / "b.jpg")
    assert [region.box for region in item.regions] == [BOX.box]
    assert "scientificName" not in item.metadata  # the model's answer is not the collection's name
    assert EXPORTER.recognises(folder)


def test_addresses_on_the_web_and_the_collections_image_ids_are_kept(store: Store, tmp_path: Path) -> None:
    media = {"accessURI": "https://media.example.org/a.jpg", "identifier": "M-1"}
    items = [(specimen("x/a.jpg", {"occurrenceID": "s1", "media": media}), [(None, FOX, 0.9)]),
             (specimen("x/y/b.jpg", {"occurrenceID": "s2"}), [(None, FOX, 0.9)])]  # fmt: skip
    answered(store, items)
    rows = table(exported(store, tmp_path / "out", base_folder=Path("x")), "multimedia.txt")
    assert [(row["accessURI"], row.get("providerManagedID")) for row in rows] == [
        ("https://media.example.org/a.jpg", "M-1"),
        ("y/b.jpg", None),
    ]


def test_text_that_would_break_a_table_does_not(store: Store, tmp_path: Path) -> None:
    terms = {"occurrenceID": "s\t1\n", "institutionCode": "a\r\nb\tc", "basisOfRecord": "PreservedSpecimen"}
    answered(store, [(replace(specimen("photos/<script>\t.jpg", terms)), [(None, FOX, 0.9)])])
    folder = exported(store, tmp_path / "out")
    assert [row["institutionCode"] for row in table(folder, "occurrence.txt")] == ["a b c"]
    assert [row["coreid"] for row in identifications(folder)] == ["s 1"]
