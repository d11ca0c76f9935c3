"""``classify --plan`` through the command line: figures, words, and nothing that stays behind."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image

from bioclip_plugin.commands import planning
from bioclip_plugin.running.session import Session

LABELS = ("--labels", "labels")

pytestmark = pytest.mark.usefixtures("labels")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Forty images, each with a colour of its own, and an empty file."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (20, 10), (6 * number, 250 - 6 * number, 90)).save(folder / f"{number:02}.png")
    (folder / "zero.jpg").touch()
    return folder


def plan_of(bioclip: Bioclip, *arguments: object) -> dict[str, object]:
    said = bioclip("classify", *arguments, "--model", "fake", *LABELS, "--plan", "--json")
    assert said.code == 0, said.err
    found: dict[str, object] = json.loads(said.out)
    return found


def test_a_plan_says_time_space_and_bottleneck_and_leaves_nothing_behind(
    bioclip: Bioclip, many: Path, tmp_path: Path
) -> None:
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    said = bioclip("classify", many, "--model", "fake", *LABELS, "--plan", "--plan-images", 20)
    assert said.code == 0
    for word in (
        "Plan for fake on cpu",
        "20 images drawn from all 41",
        "Speed: ",
        "Time: ",
        "in SQLite",
        "Bottleneck: ",
        "Not in",
    ):
        assert word in said.out
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before


def test_the_figures_of_a_plan_are_json(bioclip: Bioclip, many: Path) -> None:
    plan = plan_of(bioclip, many, "--workers", 2)
    rates, hours, size = plan["images_per_second"], plan["hours"], plan["bytes"]
    assert isinstance(rates, dict)
    assert isinstance(hours, dict)
    assert isinstance(size, dict)
    assert (plan["images"], plan["images_are_all"], plan["images_to_do"], plan["sampled"]) == (41, True, 41, 41)
    assert 0 < rates["low"] < rates["estimate"] < rates["high"]
    assert 0 < hours["low"] <= hours["estimate"] <= hours["high"]
    assert size["read"] > 0
    assert size["store"]["sqlite"] > size["features"] > 0
    stages = plan["stages"]
    assert isinstance(stages, dict)
    assert set(stages) == {"read", "decode", "encode", "classify", "store"}
    assert plan["bottleneck"] in stages
    assert plan["failed"] == 1
    assert "zero.jpg" in str(plan["first_failure"])


def test_one_image_is_measured_by_its_first_time(bioclip: Bioclip, many: Path) -> None:
    """A second time its features would be known, and the encoder have nothing to do."""
    plan = plan_of(bioclip, many / "07.png")
    assert "encode" in str(plan["stages"])
    assert plan["sampled"] == 1


def test_images_that_the_run_has_done_take_no_time(bioclip: Bioclip, photos: Path, many: Path) -> None:
    assert bioclip("classify", photos, "--model", "fake", *LABELS).code == 3
    plan = plan_of(bioclip, photos)
    assert (plan["images"], plan["images_done"], plan["images_to_do"]) == (4, 3, 1)
    assert plan_of(bioclip, many)["images_done"] == 0  # another run


def test_a_plan_without_paths_is_for_the_images_of_the_store(bioclip: Bioclip, photos: Path) -> None:
    assert "no PATHS" in bioclip("classify", "--model", "fake", *LABELS, "--plan").err
    bioclip("classify", photos, "--model", "fake", *LABELS)
    assert plan_of(bioclip)["images"] == 4


def test_a_plan_reads_names_from_standard_input(bioclip: Bioclip, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "\n".join(map(str, sorted(many.glob("*.png"))))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    assert plan_of(bioclip, "-")["images"] == 40


def test_images_that_cannot_be_used_make_no_plan(bioclip: Bioclip, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no image")
    said = bioclip("classify", folder, "--model", "fake", *LABELS, "--plan")
    assert said.code == 1
    assert "none of the 1 sampled images can be used" in said.err
    assert "a.jpg" in said.err


def test_an_image_that_fails_while_the_plan_warms_up_is_reported(bioclip: Bioclip, tmp_path: Path) -> None:
    """Of twenty images two warm up: in every order of names, the broken ones are among those that are counted."""
    folder = tmp_path / "some_broken"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.png").write_bytes(b"no image")
    for good in (7, 13):
        Image.new("RGB", (20, 10), (6 * good, 90, 90)).save(folder / f"{good:02}.png")
    plan = plan_of(bioclip, folder)
    assert (plan["sampled"], plan["failed"]) == (20, 18)


def test_a_plan_whose_only_good_image_warms_up_says_so(bioclip: Bioclip, tmp_path: Path) -> None:
    codes = dict[str, str]()
    for good in ("a", "b"):
        folder = tmp_path / f"good_{good}"
        folder.mkdir()
        for name in ("a", "b"):
            (folder / f"{name}.png").write_bytes(b"no image")
        Image.new("RGB", (20, 10), "red").save(folder / f"{good}.png")
        said = bioclip("classify", folder, "--model", "fake", *LABELS, "--plan")
        codes[good] = said.err if said.code else said.out
    refused = [said for said in codes.values() if "only 1 of the 2 sampled images can be used" in said]
    planned = [said for said in codes.values() if "Failed in the sample: 1 of 2 images" in said]
    assert (len(refused), len(planned)) == (1, 1)


def test_a_plan_is_refused_where_the_run_would_be(bioclip: Bioclip, many: Path, tmp_path: Path) -> None:
    assert "does not exist" in bioclip("classify", tmp_path / "none", "--model", "fake", *LABELS, "--plan").err
    assert bioclip("classify", many, "--model", "fake", "--plan", "--labels", tmp_path / "none").code != 0
    (tmp_path / "text.db").write_text("no database at all, but long enough to be one\n" * 100)
    assert bioclip("classify", many, "--model", "fake", *LABELS, "--plan", "--store", tmp_path / "text.db").code == 1


def test_ctrl_c_ends_a_plan_and_says_that_nothing_is_stored(
    bioclip: Bioclip, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "begin_run", interrupted)
    said = bioclip("classify", many, "--model", "fake", *LABELS, "--plan")
    assert said.code == 130
    assert "Nothing was stored" in said.out
    assert not (tmp_path / "bioclip.db").exists()


def test_rates_are_in_words_that_can_be_read() -> None:
    assert planning._rate(11.24) == "11.2 images/s"
    assert planning._rate(0.05) == "3.0 images/min"


def test_options_of_plans_and_shards_that_do_nothing_are_counted(bioclip: Bioclip, photos: Path) -> None:
    said = bioclip("classify", photos, "--model", "fake", *LABELS, "--plan-images", 5, "--shard-size", 5)
    assert "options of a plan have no effect without --plan: 1 (the first: --plan-images)" in said.out + said.err
    found = "options of shards have no effect without --work-folder FOLDER: 1 (the first: --shard-size)"
    assert found in said.out + said.err
