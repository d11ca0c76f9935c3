"""The commands: ``rules list``, ``rules apply``, and ``classify --rule``."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from rules_samples import GREEN, NOON, RED, World, names, photo

from bioclip_core.errors import PluginError
from bioclip_plugin.cli import EXIT_COULD_NOT_RUN, EXIT_DONE, EXIT_USAGE, run
from bioclip_plugin.store import Store

ORANGE = (200, 150, 0)
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bioclip(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Command line as a function: exit code, standard output, standard error."""
    monkeypatch.chdir(world.folder)
    monkeypatch.delenv("BIOCLIP_CONFIG", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments], manager=world.manager)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def photos(world: World) -> Path:
    """A sequence of three wolves, the last one similar to a jackal, and a maple an hour later; times in EXIF."""
    folder = world.folder / "photos"
    folder.mkdir()
    for name, colour, after_s in (("a", RED, 0), ("b", RED, 10), ("c", ORANGE, 20), ("d", GREEN, 3600)):
        image = Image.new("RGB", (16, 16), colour)
        exif = image.getexif()
        exif[0x0132] = (NOON + timedelta(seconds=after_s)).strftime("%Y:%m:%d %H:%M:%S")
        image.save(folder / f"{name}.png", exif=exif)
    return folder


def classify(bioclip: Call, world: World, *more: object) -> tuple[int, str, str]:
    return bioclip("classify", "photos", "--model", "fake", "--labels", world.labels, "--store", world.store, *more)


def apply_rules(bioclip: Call, world: World, *more: object) -> tuple[int, str, str]:
    return bioclip("rules", "apply", "--store", world.store, *more)


def test_the_list_has_every_rule_with_its_settings_in_the_order_in_which_they_are_asked(bioclip: Call) -> None:
    code, out, _ = bioclip("rules", "list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == EXIT_DONE
    assert [row["rule"] for row in rows] == [
        "sequences", "only", "prior", "thresholds", "speciesnet-ensemble", "geofence", "blanks", "unknown"
    ]  # fmt: skip
    assert rows[0]["settings"][0] == {
        "name": "gap", "default": "60.0", "what": "Seconds: a longer pause between two images begins a new event."
    }  # fmt: skip
    assert all(setting["what"] for row in rows for setting in row["settings"])
    text = bioclip("rules", "list")[1]
    assert "sequences: Images of one camera" in text
    assert "file\tneeded" in text


def test_classify_applies_its_rules_at_the_end_and_reports_their_effect(
    bioclip: Call, world: World, photos: Path
) -> None:
    code, out, _ = classify(bioclip, world, "--rule", "sequences", "--rule", "unknown:below=0.99")
    assert (code, photos.name) == (EXIT_DONE, "photos")
    assert "Rules: 4 regions of 4 images decided" in out
    assert "sequences: pooled 3" in out
    assert names(world.decisions()) == ["unknown", "unknown", "unknown", "unknown"]
    with Store.open(world.store) as store:
        stored = store.run()
        assert stored.counts["rules"]["rules"]["unknown"] == {"made unknown": 4}
        assert store.verify(stored).complete
    again = classify(bioclip, world, "--rule", "sequences", "--rule", "unknown:below=0.99")[1]
    assert "every region was decided already" in again


def test_json_lines_come_after_the_rules_with_their_decisions(bioclip: Call, world: World, photos: Path) -> None:
    assert photos.is_dir()
    code, out, _ = classify(bioclip, world, "--rule", "sequences", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == EXIT_DONE
    assert [row["consensus"]["scientific_name"] for row in rows] == ["Canis lupus"] * 3 + ["Acer rubrum"]
    assert rows[2]["candidates"][0]["scientific_name"] == "Canis aureus"
    assert rows[2]["decision"]["trail"][0]["from"] == "Canis aureus"


def with_offset(path: Path) -> None:
    """Write an image whose camera states the offset of its clock."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: NOON.strftime("%Y:%m:%d %H:%M:%S"), 0x9011: "+02:00"})
    Image.new("RGB", (16, 16), RED).save(path, exif=exif)


def test_times_with_and_without_a_zone_leave_their_camera_out_of_the_events_and_no_other(
    bioclip: Call, world: World, photos: Path
) -> None:
    shutil.copytree(photos, photos / "other")
    with_offset(photos / "e.jpg")
    code, out, _ = classify(bioclip, world, "--rule", "sequences")
    assert code == EXIT_DONE
    assert "5 images of 1 cameras are in no event" in out
    assert "(the first: photos/e.jpg has one, photos/a.png has none)" in out
    assert "sequences:time_zone=+03:00" in out
    with Store.open(world.store) as store:
        events = {item.item.uri: item.regions[0].decision.event for item in store.items_of(store.run())}  # type: ignore[union-attr]
        assert store.run().status == "finished"
    assert [uri for uri, event in events.items() if event] == [f"photos/other/{name}.png" for name in "abcd"]
    code, out, _ = apply_rules(bioclip, world, "--rule", "sequences:time_zone=Europe/Brussels")
    assert (code, "in no event" in out) == (EXIT_DONE, False)


@pytest.mark.parametrize("name", ["results.db", "my results.db"])
def test_the_command_to_continue_names_the_store(
    bioclip: Call, world: World, photos: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert photos.is_dir()
    world.store = world.folder / name

    def broken(*_: object) -> None:
        raise PluginError("it broke")

    with monkeypatch.context() as patch:
        patch.setattr("bioclip_plugin.rules.sequences.Sequences.event_key", broken)
        _, out, _ = classify(bioclip, world, "--rule", "sequences:gap=120")
    printed = next(line for line in out.splitlines() if "Continue the rules with: bioclip-plugin " in line)
    again = shlex.split(printed.partition("bioclip-plugin ")[2])
    assert again[:4] == ["rules", "apply", "--run", "1"]
    code, out, _ = bioclip(*again)
    assert code == EXIT_DONE
    following = next(line for line in out.splitlines() if line.startswith("Next: "))
    assert bioclip(*shlex.split(following)[2:])[0] == EXIT_DONE


@pytest.mark.parametrize("stated", ["md.json", "table.csv"])
def test_stated_times_and_those_of_the_camera_are_in_the_zone_that_is_given(
    bioclip: Call, world: World, photos: Path, stated: str
) -> None:
    boxes = [{"category": "1", "conf": 0.9, "bbox": [0, 0, 1, 1]}]
    images = [{"file": f"photos/{name}.png", "detections": boxes} for name in "abcd"]
    images[0]["datetime"] = NOON.strftime("%Y:%m:%d %H:%M:%S")  # the other times are in the EXIF of the files
    info = {"format_version": "1.4", "detector": "md"}
    world.write("md.json", json.dumps({"info": info, "detection_categories": {"1": "animal"}, "images": images}))
    world.write("table.csv", f"image,captured_at\nphotos/a.png,{NOON.isoformat()}\n" + "".join(
        f"photos/{name}.png,\n" for name in "bcd"))  # fmt: skip
    options = ("--model", "fake", "--labels", world.labels, "--store", world.store, "--time-zone", "Europe/Brussels")
    code, _, said = bioclip("classify", stated, *options, "--rule", "sequences")
    assert (code, said) == (EXIT_DONE, "")
    with Store.open(world.store) as store:
        items = [one.item for one in store.items_of(store.run())]
    assert [item.captured_at and item.captured_at.isoformat() for item in items] == [
        "2024-05-01T12:00:00+02:00", "2024-05-01T12:00:10+02:00", "2024-05-01T12:00:20+02:00", "2024-05-01T13:00:00+02:00"
    ]  # fmt: skip
    assert names(world.decisions()) == ["Canis lupus", "Canis lupus", "Canis lupus", "Acer rubrum"]
    assert photos.is_dir()


def test_rules_are_applied_to_a_run_that_had_none_and_can_be_exported_beside_it(
    bioclip: Call, world: World, photos: Path
) -> None:
    classify(bioclip, world)
    encoded = world.model.encoder.images_encoded
    shutil.rmtree(photos)  # images are not needed
    code, out, _ = apply_rules(bioclip, world, "--rule", "sequences")
    assert code == EXIT_DONE
    assert "Run 2: the answers of run 1 with sequences" in out
    assert "sequences: photos/c.png: Canis aureus 0.8" in out
    assert world.model.encoder.images_encoded == encoded
    assert names(world.decisions(1)) == ["Canis lupus", "Canis lupus", "Canis aureus", "Acer rubrum"]
    assert names(world.decisions(2)) == ["Canis lupus", "Canis lupus", "Canis lupus", "Acer rubrum"]
    for number in (1, 2):
        output = world.folder / f"{number}.csv"
        bioclip("export", "--run", number, "--store", world.store, "--output", output)
        assert output.read_text().count("Canis aureus") >= 1  # in each file as the model's own answer
        assert bioclip("runs", "verify", number, "--store", world.store)[0] == EXIT_DONE


def test_applying_the_same_rules_again_finds_their_run_and_adds_new_items(
    bioclip: Call, world: World, photos: Path
) -> None:
    classify(bioclip, world)
    apply_rules(bioclip, world, "--run", 1, "--rule", "sequences")
    Image.new("RGB", (16, 16), RED).save(photos / "e.png")
    classify(bioclip, world)
    code, out, _ = apply_rules(bioclip, world, "--run", 1, "--rule", "sequences", "--json")
    told = json.loads(out)
    assert code == EXIT_DONE
    assert (told["run"], told["of_run"], told["regions"]) == (
        2,
        1,
        1,
    )  # there is only one deployment, so the rest is not decided again
    assert len(world.decisions(2)) == 5


def test_rules_over_a_run_that_was_cut_short_leave_the_rest_to_classify(
    bioclip: Call, world: World, photos: Path
) -> None:
    with world.session() as session:
        begun = session.begin_run(("photos",))
        paths = sorted(str(path.relative_to(world.folder)) for path in photos.iterdir())
        list(session.pipeline(begun).answers(photo(name, RED) for name in paths))
    with sqlite3.connect(world.store) as file:  # as after a kill before the fourth image
        file.execute("UPDATE bioclip_listing SET status = 0 WHERE position = 4")
        file.execute(
            "DELETE FROM bioclip_listed_regions WHERE media = (SELECT media FROM bioclip_listing WHERE position = 4)"
        )
    assert apply_rules(bioclip, world, "--rule", "sequences")[0] == EXIT_DONE
    with Store.open(world.store) as store:
        derived = store.run()
        assert (derived.id, derived.status) == (2, "interrupted")
        assert (store.summary(derived).todo, store.summary(derived).failed) == (1, 0)


def test_without_rules_a_run_goes_on_with_its_own(bioclip: Call, world: World, photos: Path) -> None:
    assert photos.is_dir()
    classify(bioclip, world)
    code, _, said = apply_rules(bioclip, world)
    assert code == EXIT_USAGE
    assert "run 1 was made without rules; give --rule NAME" in said
    classify(bioclip, world, "--rule", "sequences")
    with sqlite3.connect(world.store) as file:  # as after a kill in the middle of the pass
        file.execute("UPDATE bioclip_decisions SET trail = NULL WHERE decision_set = 2")
    verified = bioclip("runs", "verify", 2, "--store", world.store)
    assert verified[0] == EXIT_COULD_NOT_RUN
    assert "4 regions are not decided by the run's rules yet" in verified[1]
    assert "Rules: 4 regions" in apply_rules(bioclip, world, "--run", 2)[1]
    assert bioclip("runs", "verify", 2, "--store", world.store)[0] == EXIT_DONE


def test_the_options_file_takes_rules(bioclip: Call, world: World, photos: Path) -> None:
    assert photos.is_dir()
    world.write("bioclip.toml", '[classify]\nrule = ["sequences:gap=5", "blanks"]\n')
    assert "Rules: 4 regions" in classify(bioclip, world)[1]
    with Store.open(world.store) as store:
        rules = store.run().rule_settings["rules"]
    assert [one["name"] for one in rules] == ["consensus", "sequences", "blanks"]
    assert rules[1]["settings"] == {"gap": 5.0, "most": 1000, "time_zone": None}


def test_rules_that_cannot_be_used_stop_before_any_image_is_read(bioclip: Call, world: World, photos: Path) -> None:
    assert photos.is_dir()
    code, _, said = classify(bioclip, world, "--rule", "only:file=missing.txt")
    assert (code, world.model.encoder.images_encoded) == (EXIT_COULD_NOT_RUN, 0)
    assert "missing.txt cannot be read: No such file or directory" in said
    assert classify(bioclip, world, "--rule", "sequence")[2].startswith(
        "Error: rule 'sequence' is not known; there are"
    )


def test_other_labels_under_the_same_name_are_refused_if_features_are_classified_again(
    bioclip: Call, world: World, photos: Path
) -> None:
    assert photos.is_dir()
    words = world.write("words.txt", "a red fish\na green fish\n")
    bioclip("classify", "photos", "--model", "fake", "--labels", words, "--store", world.store)
    words.write_text("a red fish\na blue fish\n")
    code, _, said = apply_rules(bioclip, world, "--rule", "sequences")
    assert code == EXIT_COULD_NOT_RUN
    assert "run 1 was made with another words than fake has here now" in said
    # stored answers are sufficient
    assert apply_rules(bioclip, world, "--rule", "thresholds:label=0.9")[0] == EXIT_DONE
    fence = world.write("map.json", "{}")
    assert apply_rules(bioclip, world, "--run", 1, "--rule", f"geofence:file={fence}")[0] == EXIT_DONE


APPLY_TWICE = """
import sys
from bioclip_plugin.cli import run
for rule in ("thresholds:species=0.9", "sequences"):
    code = run(["rules", "apply", "--store", "r.db", "--rule", rule])
    print(f"\\n{code}", *(name for name in ("torch", "open_clip") if name in sys.modules), file=sys.stderr)
"""


def test_torch_is_imported_only_if_features_are_classified_again(bioclip: Call, world: World) -> None:
    for name, green in (("a.jpg", 120), ("b.jpg", 130)):
        image = Image.new("RGB", (32, 32), (90, green, 60))
        exif = image.getexif()
        exif[0x0132] = NOON.strftime("%Y:%m:%d %H:%M:%S")
        image.save(name, exif=exif)
    assert bioclip("classify", "a.jpg", "b.jpg", "--model", "demo", "--store", "r.db")[0] == EXIT_DONE
    done = subprocess.run([sys.executable, "-c", APPLY_TWICE], capture_output=True, text=True, check=True, timeout=300)
    stored_answers, features = done.stderr.split("\n\n")
    assert (stored_answers.split(), features.split()) == ([str(EXIT_DONE)], [str(EXIT_DONE), "torch"])
