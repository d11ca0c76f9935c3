"""Cases from the field about duplicates and leaks, each with the right outcome; the places are public issue trackers."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalog_samples import picture
from imaging_samples import encoded
from PIL import Image, ImageDraw
from test_curation_duplicates import LYNX, WOLF, Collection, staying
from test_curation_leakage import Setting, listed

from bioclip_training.curation.imaging.deciding import Candidate, NearPair, Preference, decided_near

__all__ = ["listed"]  # a fixture that is used by itself


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection(tmp_path)


def line_art(seed: int, ink: tuple[int, int, int, int] = (0, 0, 0, 255)) -> Image.Image:
    """Draw black lines on a transparent ground, as plates of drawings are published."""
    image = Image.new("RGBA", (160, 120), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    for step in range(6):
        x = (seed * 37 + step * 23) % 140
        draw.line((x, 5, (x * seed) % 150, 115), fill=ink, width=5)
        draw.ellipse((x, (seed * 29 + step * 17) % 90, x + 20, (seed * 29 + step * 17) % 90 + 25), outline=ink, width=4)
    return image


def test_black_drawings_on_transparent_grounds_are_not_all_alike(collection: Collection) -> None:
    """Tools that drop the alpha channel see one black image (elisemercury/Duplicate-Image-Finder#30, benhoyt/dhash#3)."""
    for seed in (3, 5, 8):
        collection.add(f"a{seed}", line_art(seed))
    on_white = Image.new("RGBA", (160, 120), "white")
    on_white.alpha_composite(line_art(3))
    collection.add("b3", encoded(on_white.convert("RGB"), "JPEG", quality=90))
    found = collection.found(precedence=("a", "b"))
    assert len({found[f"a{seed}"]["near_group"] for seed in (3, 5, 8)}) == 3
    assert "a5" not in staying(found)


def test_an_unused_alpha_channel_is_no_difference(collection: Collection) -> None:
    """hydrusnetwork/hydrus#770: grey, RGB, indexed and RGBA files of one picture."""
    image = picture(7).convert("L")
    for name, mode in (("a1", "L"), ("b1", "RGB"), ("b2", "RGBA"), ("b3", "P"), ("b4", "LA")):
        collection.add(name, image.convert(mode))
    assert staying(collection.found(precedence=("a", "b"))) == dict.fromkeys(("b1", "b2", "b3", "b4"), "a1")


def test_a_rotation_in_exif_and_one_in_the_pixels_are_the_same(collection: Collection) -> None:
    """qarmin/czkawka#1540 and jhnc/findimagedupes#3."""
    image, exif = picture(7, (160, 120)), Image.Exif()
    exif[0x0112] = 6
    collection.add("a1", encoded(image, "JPEG", quality=95, exif=exif))
    collection.add("b1", encoded(image.transpose(Image.Transpose.ROTATE_270), "JPEG", quality=80))
    collection.add("b2", encoded(image, "JPEG", quality=80))  # lies on its side: another image
    assert staying(collection.found(precedence=("a", "b"))) == {"b1": "a1"}


def test_one_picture_in_place_of_lost_images_is_no_species(collection: Collection) -> None:
    """Hosts answer with "photo unavailable" (openimages/dataset#9, UCSC-VLAA/Recap-DataComp-1B#11)."""
    gone = picture(99)
    for number, name in enumerate((LYNX, WOLF, "Vulpes ficta", "Ursus fictus")):
        collection.add(f"a{number}", gone, name)
    collection.add("b1", picture(1), LYNX)
    found = collection.found()
    assert {name for name, row in found.items() if row["conflict"]} == {"a0", "a1", "a2", "a3"}
    assert staying(found) == {}


def test_one_photo_of_two_species_in_two_observations_trains_neither(collection: Collection) -> None:
    """0.1% of iNaturalist's photo ids are in two observations (WordPress/openverse#1460)."""
    collection.add("a1", picture(1), LYNX, observation_id="1")
    collection.add("a2", picture(1), WOLF, observation_id="2")
    found = collection.found()
    assert all(row["conflict"] for row in found.values())


def test_a_chain_of_similar_images_does_not_vanish_into_its_first_one() -> None:
    """Clusters by single links remove images that are not alike (bigcode-project/bigcode-analysis#9, mpyw/fzdupl#40)."""
    rows = {
        key: Candidate(key, "a", key, key, None, 100 - at, ("Animalia", "", "", "", "", "Lynx", "fictus"), "species")
        for at, key in enumerate("pqrst")
    }
    pairs = [NearPair(one, other, 10) for one, other in zip("pqrs", "qrst", strict=True)]
    verdicts, _ = decided_near(pairs, rows, Preference(("a",), False), 12)
    assert {key: verdict.duplicate_of for key, verdict in verdicts.items()} == {"q": "p", "s": "r"}  # p, r and t stay
    pairs.append(NearPair("p", "r", 14))  # further than a copy, but through the copy q
    verdicts, _ = decided_near(pairs, rows, Preference(("a",), False), 12)
    assert {key: verdict.duplicate_of for key, verdict in verdicts.items()} == {"q": "p", "r": "p", "t": "s"}


def test_one_observation_on_two_sites_and_one_address_in_two_schemes_leak(tmp_path: Path) -> None:
    """gbif/portal-feedback#2874 (a site of iNaturalist's network) and #2264 (http and https)."""
    setting = Setting(tmp_path)

    def blotch(seed: int) -> bytes:
        return encoded(picture(seed, (24, 20)))

    setting.hold("rare", "o.png", blotch(1), observation_id="https://www.inaturalist.org/observations/77")
    setting.hold("rare", "u.png", blotch(2), url="https://www.museum.org/images/5.jpg")
    setting.train("a1", blotch(11), observation_id="https://www.naturalista.mx/observations/77")
    setting.train("a2", blotch(12), url="http://museum.org/images/5.jpg")
    setting.train("a3", blotch(13), observation_id="https://www.example.org/observations/77")
    assert setting.leaks() == {("a1", "rare", "observation", "o.png"), ("a2", "rare", "observation", "u.png")}
