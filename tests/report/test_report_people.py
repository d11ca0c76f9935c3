"""People are blurred in every picture of a report, whoever detected them, unless an option shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_samples import ANIMAL, PERSON, House, blocks_of, item, picture_of

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import MediaItem, Region
from bioclip_plugin.contracts.export import Selection
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.report.people import People, people_in
from bioclip_plugin.store import Store
from bioclip_plugin.store.records import ReviewTarget, StoredDecision, StoredRegion

SHARP, SOFT = 60.0, 12.0  # contrast of neighbouring stripes, visible and blurred
HUMAN = Taxon("Animalia", "Chordata", "Mammalia", "Primates", "Hominidae", "Homo", "sapiens", "human")


def striped(house: House, name: str = "striped.png") -> Path:
    """Write an image with stripes of 8 pixels, which are visible in a thumbnail unless it is blurred."""
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[:, (np.arange(640) // 8) % 2 == 0] = 255
    Image.fromarray(pixels).save(house.folder / name)
    return house.folder / name


def contrast(picture: Image.Image, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> float:
    """Return the standard deviation of grey in a part of a picture."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    height, width = grey.shape
    part = grey[int(box[1] * height) : int(box[3] * height), int(box[0] * width) : int(box[2] * width)]
    return float(part.std())


def pictures(house: House, **options: Any) -> dict[str, Any]:
    (block,) = blocks_of(house.write(**options)[0])
    return {
        "whole": picture_of(block["i"]),
        "close": [one and picture_of(one) for one in block["c"]],
        "crops": block["c"],
    }


def test_a_persons_box_is_blurred_and_the_rest_is_not(house: House) -> None:
    house.classify([item(striped(house), regions=(PERSON, ANIMAL), detected=True)])
    made = pictures(house)
    assert contrast(made["whole"], (0.52, 0.27, 0.73, 0.73)) < SOFT
    assert contrast(made["whole"], (0.0, 0.0, 0.4, 1.0)) > SHARP
    assert contrast(made["whole"], (0.8, 0.0, 1.0, 1.0)) > SHARP


def test_a_person_is_blurred_in_the_close_up_of_a_neighbour(house: House) -> None:
    beside = Region(0.35, 0.3, 0.15, 0.2, "detector", "5", "animal", 0.8)
    house.classify([item(striped(house), regions=(PERSON, beside), detected=True)])
    made = pictures(house)
    of_person, of_animal = made["close"]
    x, _, w, _ = (part / 10_000 for part in made["crops"][1][3])
    begins = (0.5 - x) / w  # left edge of the person's box in the close-up of the animal
    assert 0.5 < begins < 0.95
    assert contrast(of_animal, (begins, 0.4, 1.0, 0.6)) < SOFT
    assert contrast(of_animal, (0.1, 0.2, begins - 0.1, 0.8)) > SHARP
    assert contrast(of_person, (0.45, 0.35, 0.55, 0.65)) < SOFT


def test_show_people_leaves_them_as_they_are(house: House) -> None:
    house.classify([item(striped(house), regions=(PERSON,), detected=True)])
    assert contrast(pictures(house, show_people=True)["whole"], (0.52, 0.27, 0.73, 0.73)) > SHARP


def test_a_person_in_an_unselected_region_is_still_blurred(house: House) -> None:
    house.classify([item(striped(house), regions=(PERSON, ANIMAL), detected=True)])
    made = pictures(house, selection=Selection(min_probability=0.1))
    assert len(made["close"]) == 1  # that of the animal
    assert contrast(made["whole"], (0.52, 0.27, 0.73, 0.73)) < SOFT


def test_a_review_as_person_blurs_the_whole_image(house: House) -> None:
    photo = striped(house)
    house.classify([item(photo)])
    assert contrast(pictures(house)["whole"]) > SHARP
    with Store.open(house.address) as store:
        store.add_review(ReviewTarget("media", str(photo)), "person", reviewer="Ada")
    assert contrast(pictures(house)["whole"]) < SOFT


def test_a_reviewers_person_in_an_event_blurs_each_image_of_it(house: House) -> None:
    house.classify([item(striped(house), sequence="visit-1")])
    with Store.open(house.address) as store:
        store.add_review(ReviewTarget("event", event="visit-1"), "person", reviewer="Ada")
    assert contrast(pictures(house)["whole"]) < SOFT


def stored(region: Region | None, verdict: Any = "unknown", named: Taxon | None = None) -> StoredRegion:
    candidate = Candidate(named, "species", 0.3) if named else None
    decision = StoredDecision(verdict, candidate if verdict == "taxon" else None)
    return StoredRegion(region, 1, {"species": (candidate,) if candidate else ()}, (), decision)


@pytest.mark.parametrize(
    ("regions", "people"),
    [
        ([stored(None, "person")], People(True)),
        ([stored(ANIMAL, "person")], People(boxes=((0.1, 0.1, 0.2, 0.2),))),
        ([stored(PERSON)], People(boxes=((0.5, 0.25, 0.25, 0.5),))),
        ([stored(Region(0.1, 0.1, 0.2, 0.2, category="Human"))], People(boxes=((0.1, 0.1, 0.2, 0.2),))),
        ([stored(None, "unknown", HUMAN)], People(True)),
        ([stored(None, "taxon", HUMAN)], People(True)),
        ([stored(ANIMAL, "vehicle"), stored(None, "blank")], People()),
    ],
)
def test_a_person_is_blurred_whichever_source_reports_it(regions: list[StoredRegion], people: People) -> None:
    assert people_in(regions, [], "species") == people


def test_a_failed_image_is_not_shown_at_all(house: House) -> None:
    house.classify([MediaItem("gone.jpg")])
    path, written = house.write()
    assert blocks_of(path) == []
    assert [failure for _, failure in written.gathered.failed] == [
        Failure("read", "the file does not exist (any more)")
    ]
