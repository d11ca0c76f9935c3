"""Names as reviewers write them, and cells as tables hold them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

import pytest

from bioclip_core.cells import DateOrder
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.naming.options import NameOptions
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin.formats.shared.review_rows import (
    BadCellError,
    box_of,
    cells_of,
    frame_of,
    verdict_of,
)
from bioclip_plugin.formats.shared.review_times import ReviewTimes, UnreadableTimeError
from bioclip_plugin.formats.timelapse.layout import is_timelapse
from bioclip_plugin.formats.timelapse.read_reviews import name_columns
from bioclip_plugin.items.media import Region
from bioclip_plugin.reviews.names import NameBook
from bioclip_plugin.reviews.pairing import overlap, same_box
from bioclip_training.catalog.naming.name_decisions import NameDecisions

PLANT = Taxon.of(("Plantae", "", "", "", "Lamiaceae", "Prunella", "vulgaris"), "self-heal")
BIRD = Taxon.of(("Animalia", "Chordata", "Aves", "Passeriformes", "Prunellidae", "Prunella", "modularis"), "dunnock")
OTHER_VULGARIS = Taxon.of(("Animalia", "", "", "", "", "Prunella", "vulgaris"))


def book(*taxa: Taxon) -> NameBook:
    def stored(names: Collection[str]) -> list[Taxon]:
        wanted = {name.lower() for name in names}
        return [
            taxon
            for taxon in taxa
            if wanted & {n.lower() for n in (*taxon.lineage, taxon.scientific_name, taxon.common_name)}
        ]

    return NameBook(stored)


def test_a_name_means_the_taxon_that_bears_it_at_its_own_rank() -> None:
    names = book(PLANT, BIRD)
    assert names.meaning({"scientificName": "prunella vulgaris L."}, scientific=False).taxon == PLANT
    assert names.meaning({"scientificName": "Dunnock"}, scientific=False).taxon == BIRD
    family = names.meaning({"scientificName": "Lamiaceae"}, scientific=False).taxon
    assert family == Taxon(kingdom="Plantae", family="Lamiaceae")


@pytest.mark.parametrize("written", ["Unidentified beetle", "Incertae sedis", "P. vulgaris"])
def test_a_text_that_names_nothing_is_not_the_taxon_of_the_other_columns(written: str) -> None:
    cells = {"scientificName": written, "family": "Lamiaceae", "kingdom": "Plantae"}
    found = book(PLANT).meaning(cells, scientific=True)
    assert found.taxon is None
    assert f"the name {written!r} cannot be read" in found.reason


def test_a_species_in_doubt_is_a_review_of_its_genus() -> None:
    found = book(PLANT).meaning({"scientificName": "Prunella vulgaris?", "kingdom": "Plantae"}, scientific=True)
    assert found.taxon == Taxon(kingdom="Plantae", genus="Prunella")


def test_a_homonym_is_resolved_by_the_ranks_beside_it_or_not_at_all() -> None:
    names = book(PLANT, OTHER_VULGARIS)
    alone = names.meaning({"scientificName": "Prunella vulgaris"}, scientific=True)
    assert alone.taxon is None
    assert "ambiguous" in alone.reason
    assert names.meaning({"scientificName": "Prunella vulgaris", "kingdom": "Plantae"}, scientific=True).taxon == PLANT
    wrong = book(PLANT).meaning({"scientificName": "Prunella vulgaris", "kingdom": "Animalia"}, scientific=True)
    assert wrong.taxon is None
    assert "contradict" in wrong.reason


def test_an_unknown_word_is_a_name_only_if_the_table_says_so() -> None:
    names = book(PLANT)
    assert names.meaning({"scientificName": "Red fox"}, scientific=False).taxon is None
    assert names.meaning({"scientificName": "Vulpes vulpes"}, scientific=True).taxon == Taxon(
        genus="Vulpes", species="vulpes"
    )
    assert names.meaning({"scientificName": "Fox"}, scientific=True).taxon is None
    assert names.meaning({"genus": "Vulpes", "family": "Canidae"}, scientific=True).taxon == Taxon(
        family="Canidae", genus="Vulpes"
    )
    assert names.meaning({}, scientific=True).reason == "the row has no name"


@pytest.mark.parametrize(
    ("word", "verdict"),
    [("Blank", "blank"), ("no animal", "blank"), ("HUMAN", "person"), ("not_in_label-set", "not_in_label_set"),
     ("indet.", "unidentifiable"), ("?", "unidentifiable"), ("Vulpes vulpes", None), ("none", None)],
)  # fmt: skip
def test_words_that_are_not_taxa(word: str, verdict: str | None) -> None:
    assert verdict_of(word) == verdict


@pytest.mark.parametrize("cell", ["[0.1, 0.2, 0.3, 0.4]", "0.1,0.2,0.3,0.4", "0.1 0.2 0.3 0.4", [0.1, 0.2, 0.3, 0.4]])
def test_a_box_in_one_cell_may_be_written_in_several_ways(cell: object) -> None:
    assert box_of(cells_of({"bbox": cell})) == (0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(
    "values", [{"bbox": "[0.1, 0.2"}, {"bbox": "0.1 0.2 0.3"}, {"bbox": 3}, {"bboxX": "0.1"}, {"bbox": "0 0 0 1"}, {"bbox": "0.9 0 0.2 1"},
               {"bboxX": "inf", "bboxY": "0", "bboxWidth": "1", "bboxHeight": "1"}],
)  # fmt: skip
def test_a_value_that_is_not_a_box_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(BadCellError, match="within 0 to 1"):
        box_of(cells_of(values))


def test_frames_and_moments() -> None:
    assert [frame_of({}), frame_of({"frame": "3"}), frame_of({"frame": 4.0})] == [0, 3, 4]
    with pytest.raises(BadCellError, match="whole number from 0"):
        frame_of({"frame": "-1"})
    brussels = timezone(timedelta(hours=2))
    assert reviewed_at("2031-05-06T12:00", zone=brussels) == datetime(2031, 5, 6, 10, tzinfo=UTC)
    assert reviewed_at("2031-05-06T12:00Z", zone=brussels) == datetime(2031, 5, 6, 12, tzinfo=UTC)
    assert reviewed_at("31.12.2031 3:10 PM") == datetime(2031, 12, 31, 15, 10, tzinfo=UTC)
    assert reviewed_at("NA") is None


def reviewed_at(cell: str, *column: str, zone: tzinfo = UTC, order: DateOrder | None = None) -> datetime | None:
    """Return the time of a review in the first row of a column."""
    cells = [(f"row {number}", one) for number, one in enumerate((cell, *column), start=1)]
    return ReviewTimes("t.csv", lambda _name: cells, zone, Findings(), order).read("reviewedat", cell, "row 1")


def test_dates_of_reviews_have_the_order_of_their_column_and_are_asked_about_or_refused() -> None:
    assert reviewed_at("03/04/2031", "31/12/2031") == datetime(2031, 4, 3, tzinfo=UTC)
    assert reviewed_at("03/04/2031", order="month") == datetime(2031, 3, 4, tzinfo=UTC)
    with pytest.raises(SourceError, match=r"t.csv, row 1: reviewedat is '03/04/2031'.* --day-first or --month-first"):
        reviewed_at("03/04/2031")
    with pytest.raises(
        UnreadableTimeError, match="time 'last week': it cannot be read as a date; give one such as 2024"
    ):
        reviewed_at("last week")


def test_boxes_overlap_by_their_shared_part() -> None:
    one, other = Region(0, 0, 0.5, 0.5), Region(0.25, 0, 0.5, 0.5)
    assert overlap(one, other) == pytest.approx(1 / 3)
    assert overlap(one, Region(0.6, 0.6, 0.1, 0.1)) == 0
    near = Region(0.001, 0, 0.5, 0.5, "finder")
    assert same_box(one, [None, other, near]) is near
    assert same_box(one, [other]) is None


def test_a_timelapse_table_and_its_species_columns() -> None:
    assert is_timelapse(["File", "RelativePath", "DateTime", "DeleteFlag"])
    assert is_timelapse(["RootFolder", "File", "DateTime", "DeleteFlag", "Species"])
    assert not is_timelapse(["file", "species"])
    assert name_columns(["File", "Species1", "Species2", "Count"], None) == ("species1", "species2")
    assert name_columns(["File", "Animal"], None) == ("animal",)
    assert name_columns(["File", "Empty"], None) == ()


def test_a_map_of_names_gives_taxa_and_verdicts(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("written_name,map_to\nred fox,Vulpes ficta\nghost cam,blank\n")
    fox = Taxon("Animalia", genus="Vulpes", species="ficta")
    names = NameDecisions(NameOptions(name_map=tmp_path / "map.csv"))
    book = NameBook(lambda asked: [fox] if "Vulpes ficta" in asked else [], names=names)
    assert book.meaning({"scientificName": "Red fox"}, scientific=False).taxon == fox
    assert book.meaning({"scientificName": "Ghost cam"}, scientific=False).verdict == "blank"
    assert "a common name" in book.meaning({"scientificName": "Roe deer"}, scientific=True).reason


def test_a_misspelt_species_of_the_store_is_refused_and_its_genus_and_families_are_taken() -> None:
    names = book(PLANT)
    wrong = names.meaning({"scientificName": "Prunella vulgarsi"}, scientific=True)
    assert wrong.taxon is None
    assert "within two letters of Prunella vulgaris" in wrong.reason
    assert names.meaning({"scientificName": "Prunella"}, scientific=True).taxon == PLANT.truncated(Rank.GENUS)
    assert names.meaning({"scientificName": "Mustelidae"}, scientific=True).taxon == Taxon(family="Mustelidae")
