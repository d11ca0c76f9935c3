"""The synthetic tree of life: its counts, names, looks, and the folders that it writes."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.biosphere import KINGDOM, MARK, Biosphere, Pose, Setting, photograph, plate
from bioclip_training.biosphere.__main__ import main
from bioclip_training.biosphere.bodies import outline
from bioclip_training.biosphere.camera_trap import write_camera_trap
from bioclip_training.biosphere.traits import ACCENTS, PATTERNS, PLANS, STYLES, TONES, Traits

SMALL = (128, 96)


@pytest.fixture(scope="module")
def biosphere() -> Biosphere:
    return Biosphere.grow(seed=2)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def distinct(taxa: tuple[Taxon, ...], rank: Rank) -> int:
    return len({taxon.lineage[: rank.depth + 1] for taxon in taxa})


def test_the_default_tree_has_72_species_in_24_families_and_every_rank_branches(biosphere: Biosphere) -> None:
    numbers = [distinct(biosphere.taxa, rank) for rank in RANKS]
    assert numbers[0] == 1
    assert numbers[1:5] == [3, 6, 12, 24]
    assert 24 < numbers[5] < 72
    assert numbers[6] == 72
    assert all(all(taxon.lineage) for taxon in biosphere.taxa)


@pytest.mark.parametrize(("families", "species"), [(1, 1), (2, 7), (5, 5), (130, 700)])
def test_a_tree_of_any_size_has_the_families_and_species_asked_for(families: int, species: int) -> None:
    taxa = Biosphere.grow(seed=9, families=families, species=species).taxa
    assert distinct(taxa, Rank.FAMILY) == families
    assert distinct(taxa, Rank.SPECIES) == species
    assert len({taxon.scientific_name for taxon in taxa}) == species


@pytest.mark.parametrize(("families", "species"), [(0, 5), (6, 5), (-1, -1)])
def test_a_tree_without_a_species_for_each_family_is_refused(families: int, species: int) -> None:
    with pytest.raises(UsageError, match=f"{families} families and {species} species"):
        Biosphere.grow(families=families, species=species)


def test_every_name_down_to_the_genus_is_marked_as_fiction(biosphere: Biosphere) -> None:
    for taxon in biosphere.taxa:
        assert taxon.kingdom == KINGDOM
        assert all(name.startswith(MARK) for name in taxon.lineage[:6])
        assert taxon.scientific_name.startswith(MARK)


def test_epithets_and_common_names_are_unique_and_most_species_have_a_common_name(biosphere: Biosphere) -> None:
    assert len({taxon.species for taxon in biosphere.taxa}) == 72
    common = [taxon.common_name for taxon in biosphere.taxa if taxon.common_name]
    assert len(set(common)) == len(common)
    assert 50 < len(common) < 72


def test_a_name_has_one_parent_only(biosphere: Biosphere) -> None:
    for rank in RANKS[1:]:
        parents = {taxon.lineage[: rank.depth + 1]: taxon.lineage[rank.depth] for taxon in biosphere.taxa}
        assert len(set(parents.values())) == len(parents), rank


def test_the_seed_alone_decides_the_tree(biosphere: Biosphere) -> None:
    assert Biosphere.grow(seed=2) == biosphere
    assert not set(Biosphere.grow(seed=3).taxa) & set(biosphere.taxa)


def looks(traits: Traits) -> np.ndarray:
    """Return traits as numbers on comparable scales: plan, styles and pattern one-hot, hue as a point on a circle."""
    turn = 2 * np.pi * traits.hue
    return np.concatenate([
        2.0 * np.eye(len(PLANS))[PLANS.index(traits.plan)], traits.proportions, [np.cos(turn), np.sin(turn), traits.lightness],
        np.eye(STYLES)[traits.tail_style], np.eye(STYLES)[traits.ornament_style],
        0.5 * np.eye(len(PATTERNS))[PATTERNS.index(traits.pattern)], 0.5 * np.eye(len(TONES))[TONES.index(traits.tone)],
        0.5 * np.eye(len(ACCENTS))[ACCENTS.index(traits.accent)],
    ])  # fmt: skip


def test_the_nearer_two_species_are_related_the_more_alike_their_traits(biosphere: Biosphere) -> None:
    distances: dict[int, list[float]] = {depth: [] for depth in range(1, 7)}
    for one, other in combinations(biosphere.species, 2):
        shared = sum(a == b for a, b in zip(one.taxon.lineage, other.taxon.lineage, strict=True))
        distances[shared].append(float(np.linalg.norm(looks(one.traits) - looks(other.traits))))
    kingdom, phylum, class_, order, family, genus = (float(np.mean(distances[shared])) for shared in range(1, 7))
    assert genus < family < order < min(kingdom, phylum)
    assert (
        order < class_ * 1.1
    )  # neighbouring families differ on purpose, so an order is only a little closer than a class
    assert class_ < min(kingdom, phylum)


def test_plates_of_a_genus_look_more_alike_than_plates_of_strangers(biosphere: Biosphere) -> None:
    pictures = [np.asarray(plate(one, rng(4), SMALL).image, dtype=float) for one in biosphere.species]
    sisters, strangers = [], []
    for (one, a), (other, b) in combinations(zip(biosphere.species, pictures, strict=True), 2):
        difference = float(np.abs(a - b).mean())
        if one.taxon.genus == other.taxon.genus:
            sisters.append(difference)
        elif one.taxon.family != other.taxon.family:
            strangers.append(difference)
    assert np.mean(sisters) < 0.7 * np.mean(strangers)


def test_sister_species_differ_in_tone_pattern_or_accent(biosphere: Biosphere) -> None:
    for one, other in combinations(biosphere.species, 2):
        if one.taxon.family == other.taxon.family:
            a, b = one.traits, other.traits
            assert (a.pattern, a.tone, a.accent) != (b.pattern, b.tone, b.accent)


def test_every_body_plan_can_be_drawn_in_every_style_and_each_style_is_another_outline(biosphere: Biosphere) -> None:
    pose = Pose("adult", "male", 0.05, 0.0, 0.05, 0.0)
    for plan in PLANS:
        outlines = set()
        for tail in range(STYLES):
            for ornament in range(STYLES):
                traits = replace(biosphere.species[0].traits, plan=plan, tail_style=tail, ornament_style=ornament)
                outlines.add(b"".join(shape.points.round(6).tobytes() for shape in outline(traits, pose)))
        assert len(outlines) == STYLES * STYLES, plan


def test_the_same_random_numbers_draw_the_same_scene_and_others_another(biosphere: Biosphere) -> None:
    species = biosphere.species[0]
    one, again, other = (np.asarray(photograph(species, rng(seed), SMALL).image) for seed in (1, 1, 2))
    assert one.shape == (96, 128, 3)
    assert (one == again).all()
    assert (one != other).any()


def test_habitat_light_age_and_sex_do_not_depend_on_the_species(biosphere: Biosphere) -> None:
    drawn = [photograph(species, rng(31), (64, 48)) for species in biosphere.species[::12]]
    assert len({(photo.habitat, photo.infrared, photo.life_stage, photo.sex) for photo in drawn}) == 1


def test_a_scene_looks_the_same_at_any_size(biosphere: Biosphere) -> None:
    species = biosphere.species[20]
    large = np.asarray(photograph(species, rng(5), (1024, 768)).image.reduce(8), dtype=float)
    small = np.asarray(photograph(species, rng(5), SMALL).image, dtype=float)
    other = np.asarray(photograph(species, rng(6), SMALL).image, dtype=float)
    # Edges fall on different pixels, so the pictures are similar but not equal.
    assert np.abs(large - small).mean() < 6 < np.abs(other - small).mean()


def test_an_infrared_scene_is_grey_and_a_day_scene_is_not(biosphere: Biosphere) -> None:
    setting = Setting.drawn(rng(8))
    night = np.asarray(photograph(biosphere.species[0], rng(1), SMALL, setting=replace(setting, infrared=True)).image)
    day = np.asarray(photograph(biosphere.species[0], rng(1), SMALL, setting=replace(setting, infrared=False)).image)
    assert (night == night[:, :, :1]).all()
    assert (day != day[:, :, :1]).any()


def test_the_box_holds_the_whole_animal_and_no_more(biosphere: Biosphere) -> None:
    for species in biosphere.species[::7]:
        photo = plate(species, rng(3), (400, 300))
        ground = np.asarray(photo.image)[:270]  # above the scale bar
        rows, columns = np.nonzero((ground != (236, 233, 226)).any(axis=2))
        left, top, width, height = photo.box
        assert columns.min() == pytest.approx(left * 400, abs=1)
        assert rows.min() == pytest.approx(top * 300, abs=1)
        assert columns.max() + 1 == pytest.approx((left + width) * 400, abs=1)
        assert rows.max() + 1 == pytest.approx((top + height) * 300, abs=1)


def test_a_camera_trap_folder_has_bursts_with_dates_and_places_and_one_unreadable_file(
    biosphere: Biosphere, tmp_path: Path
) -> None:
    records = write_camera_trap(tmp_path, biosphere, images=12, seed=7, size=(160, 120))
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.JPG"))
    assert [record.path for record in records] == files
    assert files[0] == "CAM01/IMG_0001.JPG"
    assert {record.deployment for record in records} == {"CAM01", "CAM02"}
    unreadable = [record.path for record in records if not readable(tmp_path / record.path)]
    assert unreadable == [record.path for record in records if record.corrupt]
    assert len(unreadable) == 1
    for record in records:
        if not record.corrupt:
            check_exif(tmp_path / record.path, record.captured_at, record.latitude, record.longitude)
    burst = [record for record in records if record.sequence == records[0].sequence]
    assert [record.captured_at - burst[0].captured_at for record in burst] == [timedelta(seconds=s) for s in (0, 1, 2)]
    assert len({record.taxon for record in burst}) == 1


def readable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


def check_exif(path: Path, captured_at: object, latitude: float, longitude: float) -> None:
    with Image.open(path) as image:
        exif = image.getexif()
    details, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert exif[ExifTags.Base.Make] == "Fictive"
    assert details[ExifTags.Base.DateTimeOriginal] == f"{captured_at:%Y:%m:%d %H:%M:%S}"
    assert details[ExifTags.Base.OffsetTimeOriginal] == "-03:00"
    assert details[ExifTags.Base.BodySerialNumber].startswith("FICT")
    assert (gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLongitudeRef]) == ("S", "W")
    # A hundredth of an arc second is 3e-6 degrees.
    assert -decimal(gps[ExifTags.GPS.GPSLatitude]) == pytest.approx(latitude, abs=3e-6)
    assert -decimal(gps[ExifTags.GPS.GPSLongitude]) == pytest.approx(longitude, abs=3e-6)


def decimal(dms: tuple[float, float, float]) -> float:
    return float(dms[0]) + float(dms[1]) / 60 + float(dms[2]) / 3600


def test_the_same_seed_writes_the_same_camera_trap_files(biosphere: Biosphere, tmp_path: Path) -> None:
    for name in ("one", "again"):
        write_camera_trap(tmp_path / name, biosphere, images=4, seed=3, size=(96, 72))
    for path in (tmp_path / "one").rglob("*.JPG"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_camera_trap_folder_of_one_image_is_refused(biosphere: Biosphere, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 2 images"):
        write_camera_trap(tmp_path, biosphere, images=1)


def test_the_command_writes_scenes_with_their_truth(biosphere: Biosphere, tmp_path: Path) -> None:
    assert main(["--count", "3", "--seed", "4", "--width", "96", "--output", str(tmp_path / "scenes")]) == 0
    with (tmp_path / "scenes" / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["scene_00000.jpg", "scene_00001.jpg", "scene_00002.jpg"]
    assert [row["scientificName"] for row in rows] == [taxon.scientific_name for taxon in biosphere.taxa[:3]]
    assert rows[0]["kingdom"] == KINGDOM
    with Image.open(tmp_path / "scenes" / "scene_00002.jpg") as image:
        assert image.size == (96, 72)


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--seed", "-1"], ["--width", "8"], ["--families", "99"]])
def test_the_command_refuses_in_one_line(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*wrong, "--output", str(tmp_path / "scenes")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert not (tmp_path / "scenes").exists()


def test_the_command_refuses_a_folder_that_has_something_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    assert main(["--count", "1", "--output", str(tmp_path)]) == 1
    assert "new or empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
