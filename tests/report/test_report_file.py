"""Content of a report's file: figures, entries, pictures, and data that must not be in it."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from report_samples import (
    ANIMAL,
    BLUE,
    COLOURS,
    NOON,
    RED,
    House,
    blocks_of,
    data_of,
    item,
    mean_colour,
    picture_of,
    trapped,
)

from bioclip_core.classify import Candidate
from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin import MediaItem, Place, Region
from bioclip_plugin.contracts.export import Selection
from bioclip_plugin.items.media import Unlisted
from bioclip_plugin.report.decisions import agreement as agreed
from bioclip_plugin.report.decisions import decided
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.thumbnails import close_up_of
from bioclip_plugin.store import Store
from bioclip_plugin.store.records import ReviewTarget, StoredDecision, StoredRegion

NEAR = 12  # of 255: the error of WebP at this quality on a plain colour


def near(colour: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(abs(one - other) <= NEAR for one, other in zip(colour, wanted, strict=True))


def test_the_same_store_and_images_give_the_same_bytes(house: House) -> None:
    house.classify(trapped(house, 12))
    one, _ = house.write(house.folder / "one.html", workers=1)
    two, _ = house.write(house.folder / "two.html", workers=4)
    assert one.read_bytes() == two.read_bytes()


def test_figures_are_of_everything_and_the_gallery_of_the_first(house: House) -> None:
    house.classify([*trapped(house, 20), MediaItem("gone.jpg"), Unlisted("list#3", "no image in this row")])
    path, written = house.write(limit=7)
    figures = written.gathered.figures
    assert (figures.images, figures.done, figures.failed, figures.regions) == (22, 20, 2, 20)
    assert {name: tally.regions for (*_, name), tally in figures.taxa["genus"].items()} == {
        "Red": 12,
        "Green": 4,
        "Blue": 4,
    }
    assert figures.taxa["family"]["Fictia", "", "", "", "Coldidae"].images == 8
    assert (len(data_of(path)["entries"]), len(blocks_of(path))) == (7, 7)
    assert "The gallery holds 7 of 20" in path.read_text("utf-8")
    assert figures.failures.by_reason() == {
        ("read", "the file does not exist (any more)"): 1,
        ("list", "no image in this row"): 1,
    }


def test_the_candidates_of_other_ranks_stay_in_the_store_unless_a_selection_may_need_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.classify(trapped(house, 3))
    asked: list[object] = []
    items_of = Store.items_of
    monkeypatch.setattr(
        Store, "items_of", lambda self, run, **given: asked.append(given.get("ranks")) or items_of(self, run, **given)
    )
    whole, part = house.write()[1], house.write(selection=Selection(taxa=("Coldidae",)))[1]
    assert asked == [("species",), None]
    assert (whole.gathered.figures.regions, part.gathered.figures.regions) == (3, 0)
    assert [candidate.rank for candidate in whole.gathered.sheets[0].entries[0].candidates] == ["species"] * 3


def test_an_entry_has_its_candidates_decision_and_review_beside_each_other(house: House) -> None:
    photo = house.photo("red.jpg", "red")
    house.classify([item(photo, regions=(ANIMAL,), captured_at=NOON)])
    with Store.open(house.address) as store:
        store.add_review(ReviewTarget("region", str(photo), 0, ANIMAL), "taxon", BLUE, reviewer="Ada", comment="look\nagain",
                         reviewed_at=datetime(2031, 6, 1, tzinfo=UTC))  # fmt: skip
    data = data_of(house.write()[0])
    (entry,) = data["entries"]
    _, _, box, detector, verdict, decided, candidates, _, _, _, reviews, agreement = entry
    assert (box, detector, data["verdicts"][verdict]) == (
        [1000, 1000, 2000, 2000],
        ["animal", 0.8, "detector 5"],
        "taxon",
    )
    assert data["taxa"][decided[0]][:3] == ["Red fictus", "species", "scarlet invention"]
    named = [data["taxa"][number][0] for number, _ in candidates]
    assert (named[0], sorted(named[1:])) == ("Red fictus", ["Blue pictus", "Green fictus"])
    assert candidates[0][1] > 0.9 > 0.1 > candidates[1][1]
    word, taxon, reviewer, day, comment, about = data["reviews"][reviews[0]]
    assert (word, data["taxa"][taxon][0], reviewer, day, comment, about) == (
        "taxon", "Blue pictus", "Ada", "2031-06-01", "look again", "region"
    )  # fmt: skip
    assert data["agreements"][agreement] == "differs"


WARM = RED.truncated(Rank.FAMILY)
"""A family above the answer."""


@pytest.mark.parametrize(
    ("said", "agreement"),
    [
        ([(RED, 1)], "agrees"),
        ([(WARM, 1)], "agrees"),
        ([(BLUE, 1)], "differs"),
        ([(RED, 1), (BLUE, 2)], "differs"),
        ([(BLUE, 1), (RED, 2)], "agrees"),
        ([(BLUE, 1), (RED, 1)], "agrees"),  # at the same moment: two animals in one image
    ],
)
def test_the_last_review_of_an_image_counts_for_its_regions(
    house: House, said: list[tuple[Taxon, int]], agreement: str
) -> None:
    photo = house.photo("red.jpg", "red")
    house.classify([item(photo)])
    with Store.open(house.address) as store:
        for taxon, day in said:
            moment = datetime(2031, 6, day, tzinfo=UTC)
            store.add_review(ReviewTarget("media", str(photo)), "taxon", taxon, reviewer="Ada", reviewed_at=moment)
    figures = house.write()[1].gathered.figures
    assert (figures.reviewed, dict(figures.agreements)) == (1, {agreement: 1})


def test_an_answer_above_the_reviewers_taxon_is_less_specific(house: House) -> None:
    photo = house.photo("red.jpg", "red")
    house.classify([item(photo)], rank="family")
    with Store.open(house.address) as store:
        store.add_review(ReviewTarget("media", str(photo)), "taxon", RED, reviewer="Ada")
    stored = StoredRegion(None, 1, {}, (), StoredDecision("taxon", Candidate(WARM, "family", 0.9)))
    with Store.open(house.address) as store:
        assert agreed(decided(stored, 0.2), list(store.reviews())) == "less specific"


def test_a_review_of_a_box_counts_for_the_box_at_about_the_same_place(house: House) -> None:
    photo = house.photo("red.jpg", "red")
    other = Region(0.6, 0.6, 0.3, 0.3, "detector", "5", "animal", 0.8)
    house.classify([item(photo, regions=(ANIMAL, other))])
    drawn = Region(0.11, 0.11, 0.19, 0.2)
    with Store.open(house.address) as store:
        store.add_review(ReviewTarget("region", str(photo), 0, drawn), "taxon", BLUE, reviewer="Ada")
    data = data_of(house.write()[0])
    assert [data["agreements"][entry[-1]] for entry in data["entries"]] == ["differs", ""]


def test_an_image_in_which_a_detector_found_nothing_is_a_blank_card(house: House) -> None:
    house.classify([item(house.photo("empty.jpg", "green"), detected=True)])
    path, written = house.write()
    data = data_of(path)
    assert [data["verdicts"][entry[4]] for entry in data["entries"]] == ["blank"]
    assert written.gathered.figures.regions == 0


def test_boxes_lie_in_the_upright_image_whatever_its_orientation(house: House) -> None:
    """The left half of the upright image is red. Stored with a quarter turn, it is the upper or lower half."""
    upright = Image.new("RGB", (80, 60), COLOURS["blue"])
    upright.paste(COLOURS["red"], (0, 0, 40, 60))
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(house.folder / "turned.jpg", exif=exif, quality=95)
    house.classify([item(house.folder / "turned.jpg", regions=(Region(0.05, 0.3, 0.2, 0.2),))])
    (block,) = blocks_of(house.write()[0])
    whole, close = picture_of(block["i"]), picture_of(block["c"][0])
    assert whole.width > whole.height
    assert near(mean_colour(whole, (0.1, 0.1, 0.4, 0.9)), COLOURS["red"])
    assert near(mean_colour(whole, (0.6, 0.1, 0.9, 0.9)), COLOURS["blue"])
    assert near(mean_colour(close), COLOURS["red"])


def test_a_close_up_shows_the_box_with_a_margin_and_stays_inside_the_image() -> None:
    shown = close_up_of((0.0, 0.9, 0.1, 0.1), 4000, 3000)
    assert shown is not None
    left, top, width, height = shown
    assert (left, pytest.approx(top + height)) == (0.0, 1.0)
    assert width > 0.1
    assert height > 0.1
    assert width * 4000 == pytest.approx(height * 3000 * 4 / 3)
    assert close_up_of((0.1, 0.1, 0.7, 0.7), 4000, 3000) is None


def test_no_metadata_survives_in_a_thumbnail(house: House) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET-DESCRIPTION"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (51.0, 7.0, 24.44)
    photo = house.photo("red.jpg", "red", exif=exif, comment=b"SECRET-COMMENT")
    house.classify([item(photo)])
    (block,) = blocks_of(house.write()[0])
    small = picture_of(block["i"])
    assert not {"exif", "icc_profile", "comment", "xmp"} & set(small.info)
    assert dict(small.getexif()) == {}


def test_places_are_rounded_in_everything_that_the_file_holds(house: House) -> None:
    place = Place("BE", None, 51.123456, 4.654321)
    photos = [item(house.photo(f"{n}.jpg", "red"), place=place, deployment="CAM" if n else None) for n in range(2)]
    house.classify(photos)
    with Store.open(house.address) as store:
        store.add_review(ReviewTarget("media", photos[0].uri), "blank", reviewer="Ada",
                         comment="stood at 51.123456, 4.65432, for 12.345 h")  # fmt: skip
    text = house.write(coordinate_precision=1)[0].read_text("utf-8")
    assert not re.search(r"51\.123|4\.654", text)
    assert "stood at 51.1, 4.7, for 12.345 h" in text
    assert "rounded to 1 decimal of a degree" in text
    assert "51.1235" in house.write()[0].read_text("utf-8")


def test_a_missing_image_is_grey_with_the_reason(house: House) -> None:
    photo = house.photo("red.jpg", "red")
    house.classify([item(photo), item(house.photo("green.jpg", "green"))])
    photo.unlink()
    path, written = house.write()
    assert (written.without_picture, written.pictures) == (1, 1)
    assert [block.get("e") for block in blocks_of(path)] == ["the file does not exist (any more)", None]


def test_relative_names_begin_in_the_base_folder_or_where_the_run_was_made(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.photo("red.jpg", "red")
    house.classify([MediaItem("red.jpg", path=Path("red.jpg"))])
    elsewhere = house.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert house.write()[1].without_picture == 0
    assert house.write(base_folder=house.folder)[1].without_picture == 0
    assert house.write(base_folder=elsewhere)[1].without_picture == 1


def test_a_frame_that_no_reader_of_photos_knows_is_opened_by_a_plugin(house: House) -> None:
    """The plugin paints the number of the frame, like a video reader but without a video."""
    from bioclip_plugin import hookimpl

    class Painter:
        @hookimpl
        def media_suffixes(self) -> list[str]:
            return [".film"]

        @hookimpl
        def open_media(self, item: MediaItem) -> Image.Image | None:
            is_film = item.uri.endswith(".film")
            return Image.new("RGB", (80, 60), tuple(COLOURS.values())[item.frame]) if is_film else None

    house.manager.register(Painter())
    (house.folder / "a.film").write_bytes(b"a film")
    house.classify([MediaItem("a.film", path=Path("a.film"), frame=frame) for frame in range(3)])
    path, _ = house.write()
    assert [
        near(mean_colour(picture_of(block["i"])), COLOURS[name])
        for block, name in zip(blocks_of(path), COLOURS, strict=True)
    ] == [True] * 3
    assert [image[1] for image in data_of(path)["images"]] == [0, 1, 2]


def test_the_file_contains_only_requested_data(house: House) -> None:
    house.classify(trapped(house, 30))
    since = (NOON + timedelta(days=3)).date()
    path, written = house.write(selection=Selection(since=since, taxa=("coldidae",), min_probability=0.5))
    data = data_of(path)
    assert {data["images"][entry[0]][2][:10] for entry in data["entries"]} == {"2031-05-04", "2031-05-05"}
    assert set(written.gathered.figures.taxa["family"]) == {("Fictia", "", "", "", "Coldidae")}
    assert "only results that were photographed on 2031-05-04 or later" in path.read_text("utf-8")


def test_custom_labels_are_shown_by_their_own_words(house: House) -> None:
    house.classify([item(house.photo("red.jpg", "red"))], labels=("a red fish", "a blue fish"))
    path, written = house.write()
    assert data_of(path)["taxa"][0][:2] == ["a red fish", "label"]
    assert [name for (name,) in written.gathered.figures.taxa["label"]] == ["a red fish"]


def test_an_empty_run_is_a_report_too(house: House) -> None:
    house.classify([])
    text = house.write()[0].read_text("utf-8")
    assert "Nothing was named." in text
    assert "No image states where it was taken." in text


def test_an_interrupted_report_leaves_nothing_and_the_old_one_as_it_was(house: House) -> None:
    house.classify(trapped(house, 40))
    path = house.folder / "report.html"
    path.write_text("the old one")

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    from bioclip_plugin.report.writing import write_report

    with Store.open(house.address) as store, pytest.raises(KeyboardInterrupt):
        write_report(path, store, store.run(), ReportOptions(), progress=interrupt, force=True)
    assert path.read_text() == "the old one"
    assert [one.name for one in house.folder.iterdir() if one.name.endswith(".part")] == []


def test_an_output_that_exists_is_kept_unless_forced(house: House) -> None:
    house.classify([])
    path, _ = house.write()
    from bioclip_plugin.report.writing import write_report

    with Store.open(house.address) as store, pytest.raises(BioclipError, match="exists already"):
        write_report(path, store, store.run(), ReportOptions())


def test_the_foot_names_model_weights_licence_and_run_and_neither_host_nor_store(house: House) -> None:
    house.classify([item(house.photo("red.jpg", "red"))], sources=("traps/north",))
    run = house.run()
    foot = house.write()[0].read_text("utf-8").partition('<footer id="provenance">')[2].partition("</footer>")[0]
    for expected in ("fake", str(run.feature_settings["weights_sha256"]), "not stated by this installation", "traps/north",
                     "consensus 1 (threshold: 0.65)", f"bioclip-plugin {run.provenance['bioclip_plugin']}"):  # fmt: skip
        assert expected in foot
    assert str(run.provenance["host"]) not in foot
    assert "results.db" not in foot


def test_licence_and_citation_of_a_registered_model_are_at_the_foot(house: House) -> None:
    from dataclasses import replace

    from bioclip_plugin.report.provenance import provenance_rows

    house.classify([])
    run = replace(house.run(), provenance={"model": {"name": "bioclip-2", "source": "hub", "licence": ""}})
    rows = dict(provenance_rows(run, house.manager.models()))
    assert rows["Licence of the model"] == "MIT"
    assert rows["Please cite"].startswith("Gu et al. 2025")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"limit": 0}, "limit 0"),
        ({"thumbnail_size": 5}, "48 to 1024"),
        ({"coordinate_precision": 9}, "0 to 7"),
        ({"language": "de"}, "--names"),
        ({"base_folder": Path("nowhere")}, "folder does not exist"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        ReportOptions(**given)  # type: ignore[arg-type]


def test_thumbnails_are_small_files_of_the_size_that_was_asked(house: House) -> None:
    noise = Image.effect_noise((800, 600), 60).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "JPEG")
    (house.folder / "noise.jpg").write_bytes(out.getvalue())
    house.classify([item(house.folder / "noise.jpg")])
    (block,) = blocks_of(house.write(thumbnail_size=160)[0])
    assert block["i"][1:3] == [160, 120]
    assert len(block["i"][0]) < 16_000  # pure noise is the worst case
