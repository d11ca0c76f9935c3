"""Parts of a report, one by one: text, names in other languages, the map, the hours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from bioclip_core.classify import Candidate
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, item_of
from bioclip_plugin.report import thumbnails
from bioclip_plugin.report.activity import activity_svg
from bioclip_plugin.report.decisions import Decided, Entry
from bioclip_plugin.report.figures import Figures
from bioclip_plugin.report.map_picture import HEIGHT, WIDTH, Spot, map_svg
from bioclip_plugin.report.names import CommonNames
from bioclip_plugin.report.page_data import said_of
from bioclip_plugin.report.people import People
from bioclip_plugin.report.text import legible, running, script_json, without_place
from bioclip_plugin.store.records import StoredItem

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "vulpes", "red fox")
TABLE = """scientificName,language,vernacularName
Vulpes vulpes,de,Rotfuchs
Vulpes vulpes,fr,renard roux
Canidae,de,Hunde
Meles meles,de-AT,Dachs
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "names.csv"
    path.write_text(TABLE, "utf-8")
    return path


def test_without_a_table_the_label_sets_own_names_are_shown() -> None:
    assert CommonNames.read(None, None).of(FOX) == "red fox"


def test_a_tables_names_are_shown_in_the_language_that_was_asked(table: Path) -> None:
    german = CommonNames.read(table, "DE")
    assert (german.of(FOX), german.of(FOX.truncated(FOX.rank))) == ("Rotfuchs", "Rotfuchs")  # type: ignore[arg-type]
    assert german.of(Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")) == "Hunde"
    assert german.of(Taxon(genus="Meles", species="meles")) == ""
    assert CommonNames.read(table, "de-AT").of(Taxon(genus="Meles", species="meles")) == "Dachs"
    assert CommonNames.read(table, "fr_BE").of(FOX) == "renard roux"


def test_a_language_that_is_not_there_is_an_error_that_lists_those_that_are(table: Path) -> None:
    with pytest.raises(UsageError, match=r"'sv'.*de, de-AT, fr"):
        CommonNames.read(table, "sv")
    with pytest.raises(UsageError, match="several languages"):
        CommonNames.read(table, None)


@pytest.mark.parametrize("content", ["", "name;language\na;de\n", "scientificName,language,vernacularName\n"])
def test_a_table_without_names_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.csv").write_text(content)
    with pytest.raises(SourceError, match=r"names\.csv"):
        CommonNames.read(tmp_path / "names.csv", "de")


def test_tab_separated_tables_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "n.tsv").write_text(
        "\ufeffvernacularName\tscientificName\tlanguage\nRotfuchs\tVulpes vulpes\tde\n", "utf-8"
    )
    assert CommonNames.read(tmp_path / "n.tsv", None).of(FOX) == "Rotfuchs"


@pytest.mark.parametrize("sign", ["\n", "\x00", "\x1b", "\u2028", "\u2029", "\u202e", "\u200b", "\ud800"])
def test_signs_that_are_not_seen_are_shown(sign: str) -> None:
    assert legible(f"a{sign}b").isprintable()
    assert legible(f"a{sign}b") != "ab"
    assert legible("Vögel ☃ 鳥") == "Vögel ☃ 鳥"


def test_a_remark_of_several_lines_is_one() -> None:
    assert running("one\n\ttwo") == "one two"


def test_nothing_in_a_data_block_can_end_it() -> None:
    written = script_json(["</script><!--<script>", "\u2028", "'\"&"])
    assert not re.search(r"[<>&\u2028]", written)


def test_a_places_own_coordinates_are_rounded_in_text_and_other_numbers_are_not() -> None:
    text = "at -51.12345/4.5678 with 0.51 by rule 1.2.3"
    assert without_place(text, -51.12345, 4.5678, 1) == "at -51.1/4.6 with 0.51 by rule 1.2.3"
    assert without_place(text, -51.12345, 4.5678, None) == text
    assert without_place(text, None, None, 1) == text


def test_a_step_of_a_decision_is_a_sentence() -> None:
    step = {
        "rule": "geofence",
        "did": "rolled up",
        "from": "Vulpes vulpes",
        "to": "Canidae",
        "why": "not in NZ",
        "score": 0.81234567,
    }
    assert said_of(step) == "geofence: rolled up from Vulpes vulpes to Canidae (not in NZ); score 0.812346"


def points(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle[^>]* cx="([-\d.]+)" cy="([-\d.]+)"', svg)]


def inside(svg: str) -> bool:
    return all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points(svg))


def test_north_is_up_and_east_is_right() -> None:
    svg = map_svg([Spot(0, "south-west", 50.0, 4.0, 5), Spot(1, "north-east", 51.0, 5.0, 3)])
    (x, y), (other_x, other_y) = points(svg)
    assert inside(svg)
    assert x < other_x
    assert y > other_y
    assert "°N" in svg
    assert "°E" in svg
    assert " km</text>" in svg


def test_cameras_on_both_sides_of_the_date_line_are_beside_each_other() -> None:
    svg = map_svg([Spot(0, "Fiji", -17.0, 179.5, 1), Spot(1, "Fiji too", -17.5, -179.5, 1)])
    (x, _), (other_x, _) = points(svg)
    assert inside(svg)
    assert 50 < other_x - x < WIDTH
    assert "180°" in svg


@pytest.mark.parametrize("places", [[(0.0, 0.0)], [(89.9, 10.0), (-89.9, -170.0)], [(51.0, 4.0), (51.0, 4.0)]])
def test_every_set_of_places_has_a_map(places: list[tuple[float, float]]) -> None:
    assert inside(map_svg([Spot(number, "x", *place, 1) for number, place in enumerate(places)]))


def test_names_of_cameras_are_text_in_the_map() -> None:
    assert "<b>" not in map_svg([Spot(0, "<b>\"'&", 1.0, 1.0, 1)])


def test_a_map_of_rounded_places_is_no_finer_than_they_are() -> None:
    """With one decimal, a place can be off by 5 km, so a scale in metres would be misleading."""
    svg = map_svg([Spot(0, "rare", 50.7, 4.0, 1)], decimals=1)
    assert " km</text>" in svg
    assert re.findall(r">([\d.]+)°N<", svg) == ["50.5", "51"]


def test_a_name_in_the_map_covers_no_other_point() -> None:
    crowd = [Spot(number, f"camera {number}", 52.0, 5.0 + number / 100, 1) for number in range(20)]
    svg = map_svg([*crowd, Spot(20, "alone", 52.05, 5.1, 1)])
    assert re.findall(r'<text class="name"[^>]*>([^<]*)</text>', svg) == ["alone"]


def test_the_highest_bar_fills_the_picture_and_hours_without_anything_have_none() -> None:
    hours = [0] * 24
    hours[6], hours[7] = 10, 5
    heights = [float(height) for height in re.findall(r'class="left"[^>]* height="([\d.]+)"', activity_svg(hours))]
    assert heights[7] == pytest.approx(heights[6] / 2, abs=0.01)
    assert sum(height > 0 for height in heights) == 2
    assert "between 6:00 and 7:00" in activity_svg(hours)
    assert "No regions" in activity_svg([0] * 24)


@pytest.mark.parametrize(
    ("fault", "reason"), [(MemoryError(), "not enough memory"), (KeyError("a"), "KeyError (bioclip_")]
)
def test_an_image_that_cannot_be_drawn_for_a_fault_of_ours_has_a_reason(
    fault: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise fault

    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10)).save(path)
    illustrator = thumbnails.Illustrator(40)
    assert illustrator.draw(item_of(path), [], People()).whole is not None
    monkeypatch.setattr(thumbnails, "_thumbnail", fails)
    assert reason in illustrator.draw(item_of(path), [], People()).reason


def test_failures_that_differ_in_names_and_numbers_alone_are_one_reason() -> None:
    """Else a million failures would be a million texts in memory."""
    figures = Figures()
    for number in range(3):
        failure = Failure("decode", f"photos/{number}.jpg is cut after {number} bytes")
        figures.add_unanswered(StoredItem(MediaItem(f"{number}.jpg"), "failed", failure, []))
    assert figures.failures.by_reason() == {("decode", "photos/0.jpg is cut after 0 bytes (and the like)"): 3}
    assert figures.failed == 3


def test_the_ranks_of_a_taxon_are_found_once_and_not_for_every_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """They took three fifths of the time of a report of ten million regions."""
    cut: list[Rank] = []
    truncated = Taxon.truncated
    monkeypatch.setattr(Taxon, "truncated", lambda taxon, rank: cut.append(rank) or truncated(taxon, rank))
    figures, once = Figures(), Taxon("Fictia", family="Oncidae", genus="Once", species="unicus")
    for _ in range(100):
        answer = Decided("taxon", Candidate(once, "species", 0.9))
        figures.add(MediaItem("a.jpg"), [Entry(None, answer, (), (), None, (), "")] * 2)
    assert len(cut) <= 2 * len(RANKS)
    assert {rank: [tally.regions for tally in tallies.values()] for rank, tallies in figures.taxa.items()} == {
        "kingdom": [200], "family": [200], "genus": [200], "species": [200],
    }  # fmt: skip
    assert [tally.images for tally in figures.taxa["genus"].values()] == [100]
