"""Every command that is printed can be given as it stands: each hint of each command is collected, filled in and carried out.

A place in the source that writes a `Next:` is found by itself: each must be named by one of the walks below, and reached by it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa
import pytest
from checkpoints import checkpoint_bytes
from command_samples import Bioclip, Outcome
from PIL import Image
from printed_commands import TRAINING, carry_out, filled, names_of
from pyarrow import parquet

import bioclip_core.next_commands
from bioclip_core.next_commands import next_lines
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.commands.training.next_steps import after_training
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.testing import FakeModel
from bioclip_training.catalog.rows import CatalogRow, table_from
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.recommending import commands_of

ROOT = Path(__file__).parent.parent.parent
ODD = "Müller's photos [2024] & co"
"""Name of a folder in which every unquoted command fails."""

COLOURS = {"Red": (255, 0, 0), "Green": (0, 255, 0)}
TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    }
}
FAKE = ("--model", "fake")
_PLACE = re.compile(r"(?:bioclip_plugin|training|core)/[\w/]+\.py:\w+")
_STEPS = "bioclip_plugin/commands/training/next_steps.py"

_own = bioclip_core.next_commands.next_lines
_places: set[str] = set()


def _noting(*given: Any, **named: Any) -> list[str]:
    caller = sys._getframe(1)
    _places.add(f"{Path(caller.f_code.co_filename).relative_to(ROOT)}:{caller.f_code.co_name}")
    return _own(*given, **named)


@pytest.fixture(autouse=True)
def reached(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Places that wrote the next commands during the test."""
    _places.clear()
    for module in list(sys.modules.values()):
        if vars(module).get("next_lines") is _own:  # a module that is imported later gets it from the helper's own
            monkeypatch.setattr(module, "next_lines", _noting)
    return _places


@pytest.fixture
def odd(tmp_path: Path, bioclip: Bioclip, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory whose name must be quoted, with the files that placeholders stand for."""
    folder = tmp_path / ODD
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("tiny model.json").write_text(json.dumps(TINY))
    Path("taxa.csv").write_text("kingdom,genus,specificEpithet\nFictia,Red,fictus\nFictia,Green,fictus\n")
    Image.new("RGB", (20, 16), COLOURS["Red"]).save("one photo.png")
    Path("names.csv").write_text("image,scientificName,eventID\none photo.png,Red fictus,1\n")
    return folder


def collection(name: str, **counts: int) -> str:
    """Write a catalog with a number of images per split, whose taxa take turns."""
    folder, rows = Path(name), []
    folder.mkdir()
    for place, (split, count) in enumerate(counts.items()):
        for number in range(count):
            genus, file = list(COLOURS)[number % 2], folder / f"{split}-{number}.png"
            Image.new("RGB", (17 + number, 16 + place), COLOURS[genus]).save(file)  # no image twice
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            taxon = Taxon.of(["Fictia", "", "", "", "", genus, "fictus"])
            rows.append(CatalogRow(file.name, taxon, split=split, group=file.name, sha256=digest))
    parquet.write_table(table_from(rows), folder / "a catalog.parquet")
    return f"{name}/a catalog.parquet"


def copy_row(catalog: str, one: str, other: str) -> None:
    """Put a copy of one image of a catalog in the place of another."""
    folder, table = Path(catalog).parent, parquet.read_table(catalog)
    data = (folder / one).read_bytes()
    (folder / other).write_bytes(data)
    rows = table.to_pylist()
    for row in rows:
        if row["uri"] == other:
            row["sha256"] = hashlib.sha256(data).hexdigest()
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), catalog)


def check(reached: set[str], *places: str) -> None:
    assert set(places) <= reached


def test_after_a_catalog_it_is_trained_on_measured_and_used(bioclip: Bioclip, odd: Path, reached: set[str]) -> None:
    for genus, colour in COLOURS.items():
        Path(f"a tree/{genus}_fictus").mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (17 + number, 20), colour).save(f"a tree/{genus}_fictus/{genus}{number}.png")
    said = bioclip("catalog", "build", "a tree", "--output", "a catalog.parquet", "--near-distance", 0, "--val", 0.4)
    done = carry_out(bioclip, said)
    assert set(done.values()) == {0}
    assert names_of(done)[:3] == ["catalog", "train", "evaluate"]
    assert "classify" in names_of(done)
    check(
        reached, f"{_STEPS}:after_catalog", f"{_STEPS}:after_training", "bioclip_plugin/commands/classify.py:_summarise"
    )


@pytest.mark.parametrize("splits", [("unseen",), ("beach",), ("train", "val")])
def test_a_catalog_that_cannot_be_trained_on_is_evaluated(bioclip: Bioclip, odd: Path, splits: tuple[str, ...]) -> None:
    """With ``train`` there is a single taxon in it."""
    rows = ["image,scientificName,split"]
    for split in splits:
        for genus, colour in [*COLOURS.items()][: 1 if split == "train" else 2]:
            Image.new("RGB", (20, 16), colour).save(f"{split}{genus}.png")
            rows.append(f"{split}{genus}.png,{genus} fictus,{split}")
    Path("a table.csv").write_text("\n".join(rows))
    done = carry_out(
        bioclip, bioclip("catalog", "build", "a table.csv", "--output", "a catalog.parquet", "--near-distance", 0)
    )
    assert set(done.values()) == {0}
    assert "train" not in names_of(done)
    assert "evaluate" in names_of(done)


def test_shards_are_trained_on_and_their_catalog_measured(bioclip: Bioclip, odd: Path, reached: set[str]) -> None:
    done = carry_out(bioclip, bioclip("shards", "write", collection("here", train=8, val=2), "--output", "my shards"))
    assert set(done.values()) == {0}
    assert {"train", "shards", "classify", "evaluate"} <= {*names_of(done)}
    check(reached, f"{_STEPS}:after_shards")


def test_shards_without_train_are_only_checked(bioclip: Bioclip, odd: Path) -> None:
    done = carry_out(bioclip, bioclip("shards", "write", collection("here", val=4), "--output", "my shards"))
    assert {*names_of(done)} == {"shards"}


def test_images_that_moved_are_found_by_the_commands_after_training_too(bioclip: Bioclip, odd: Path) -> None:
    catalog = collection("here", train=8, val=3)
    copy_row(catalog, "train-0.png", "val-2.png")
    Path("there & then").mkdir()
    for file in Path("here").glob("*.png"):
        file.rename(Path("there & then") / file.name)
    moved = f"{Path('here').absolute()}={Path('there & then').absolute()}"
    said = bioclip("train", "--data", catalog, "--start", *TRAINING, "--output", "made", "--replace-prefix", moved)
    done = carry_out(bioclip, said)
    assert set(done.values()) == {0}
    assert any("--split val" in line and "--trained-images leave-out" in line for line in done)  # a copy of train-0.png
    assert any("evaluate" in line and moved.split("=")[1].replace("'", "'\"'\"'") in line for line in done)


def test_after_training_without_held_out_images_the_model_is_used(bioclip: Bioclip, odd: Path) -> None:
    catalog = collection("here", train=4)
    lines = after_training(Path("made"), catalog)
    assert lines[0].startswith("No part is held out")
    assert lines[1:] == ["Next: bioclip-plugin classify PATHS --model local-dir:made"]
    assert bioclip("shards", "write", catalog, "--output", "my shards").code == 0
    assert after_training(Path("made"), "my shards") == lines[1:]


def test_label_sets_are_used_with_their_own_model(bioclip: Bioclip, odd: Path, reached: set[str]) -> None:
    done = carry_out(bioclip, bioclip("labels", "build", "taxa.csv", *FAKE, "--output", "my labels"))
    catalog = collection("here", train=4, val=2)
    done |= carry_out(bioclip, bioclip("prototypes", "build", *FAKE, "--data", catalog, "--output", "my prototypes"))
    assert set(done.values()) == {0}
    assert names_of(done).count("classify") == 2
    check(
        reached,
        "bioclip_plugin/commands/labels.py:_print_next",
        "bioclip_plugin/commands/training/prototype_sets.py:_build",
    )


def test_a_taxonomy_is_asked_and_used_for_a_catalog(bioclip: Bioclip, odd: Path, reached: set[str]) -> None:
    done = carry_out(bioclip, bioclip("taxonomy", "build", "taxa.csv", "--output", "my list.taxonomy"))
    assert set(done.values()) == {0}
    assert names_of(done)[:2] == ["taxonomy", "catalog"]
    check(reached, "bioclip_plugin/commands/training/taxonomy.py:build")


def test_runs_and_their_rules_are_exported(bioclip: Bioclip, odd: Path, reached: set[str]) -> None:
    bioclip("labels", "build", "taxa.csv", *FAKE, "--output", "my labels")
    asked = ("--labels", "my labels", *FAKE, "--store", "my results.db", "--rule", "unknown:below=0.99")
    done = carry_out(bioclip, bioclip("classify", "one photo.png", *asked))
    assert Path("results.csv").is_file()
    done |= carry_out(bioclip, bioclip("rules", "apply", "--store", "my results.db", "--rule", "unknown:below=0.5"))
    assert Path("results-2.csv").is_file()
    with sqlite3.connect("my results.db") as connection:
        connection.execute("UPDATE bioclip_decisions SET trail = NULL")
    done |= carry_out(bioclip, bioclip("export", "--store", "my results.db", "--output", "unfinished.csv"))
    assert {"rules", "export"} <= {*names_of(done)}
    assert set(done.values()) == {0}
    check(
        reached, "bioclip_plugin/commands/rules.py:apply_command", "bioclip_plugin/commands/outputs.py:say_unfinished"
    )


def test_a_confirmed_checkpoint_of_a_detector_is_used(
    bioclip: Bioclip, odd: Path, reached: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(odd / "cache"))
    bioclip("labels", "build", "taxa.csv", *FAKE, "--output", "my labels")
    Path("bioclip.toml").write_text('[classify]\nmodel = "fake"\nlabels = "my labels"\n')
    Path("a detector.pt").write_bytes(checkpoint_bytes())
    digest = hashlib.sha256(checkpoint_bytes()).hexdigest()
    done = carry_out(bioclip, bioclip("models", "trust", "a detector.pt", "--sha256", digest))
    assert (names_of(done)[0], set(done.values())) == ("classify", {0})
    check(reached, "bioclip_plugin/commands/models.py:trust")


def test_configurations_are_written_planned_and_run(bioclip: Bioclip, odd: Path, reached: set[str]) -> None:
    said = bioclip("ablate", "--example", "an ablation.yaml")
    Path("an ablation.yaml").write_text(
        f"data: {collection('here', train=6, val=2)}\nstart: 'new:tiny model.json'\noutput: an output\nseeds: [0]\n"
        "train: {steps: 2, batch_size: 2, precision: fp32, measure: false, wise_ft: false}\ncompare: {losses: [clip]}\n"
    )
    assert names_of(carry_out(bioclip, said)) == ["ablate", "ablate"]
    for genus, colour in COLOURS.items():
        folder = Path(f"a source/train/0000{len(genus)}_Fictia_Fictozoa_Fictida_Fictales_Fictidae_{genus}_fictus")
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (17 + number, 20), colour).save(folder / f"{genus}{number}.jpg")
    said = bioclip("curate", "--example", "a curation.yaml")
    Path("a curation.yaml").write_text("output: curated\nsources: {folders: {path: a source}}\nsplits: {val: 0.2}\n")
    assert {"curate", "shards", "train"} <= {*names_of(carry_out(bioclip, said))}
    check(
        reached, "bioclip_plugin/commands/training/ablate.py:_write_example",
        "bioclip_plugin/commands/training/curate.py:_write_example", "bioclip_plugin/commands/training/curate.py:_print_plan",
        "bioclip_plugin/commands/training/curate.py:_next",
    )  # fmt: skip


def test_advice_of_empty_stores_can_be_followed(bioclip: Bioclip, odd: Path) -> None:
    bioclip("classify", "one photo.png", "--model", "demo", "--store", "my results.db")
    Path("reviews.csv").write_text("uri,review_verdict,reviewer\n" + f"{Path('one photo.png').absolute()},blank,Ann\n")
    done: dict[str, int] = {}
    for asked in (("review", "stats"), ("review", "list")):
        carry_out(bioclip, bioclip(*asked, "--store", "my results.db"), done)
    assert names_of(done) == ["review"]


def _calls_it(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    calls = (part for part in ast.walk(node) if isinstance(part, ast.Call) and isinstance(part.func, ast.Name))
    return isinstance(node, ast.FunctionDef) and any(call.func.id == "next_lines" for call in calls)


def test_each_place_that_writes_the_next_commands_is_reached_by_a_walk() -> None:
    there = set()
    for package in ("core/bioclip_core", "training/bioclip_training", "bioclip_plugin"):
        for file in (ROOT / package).rglob("*.py"):
            if "next_lines(" in (text := file.read_text("utf-8")):
                name = file.relative_to(ROOT).as_posix()
                there |= {f"{name}:{function.name}" for function in ast.walk(ast.parse(text)) if _calls_it(function)}
    walks = (file.read_text("utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    walked = "".join(walks).replace("{_STEPS}", _STEPS)
    assert there <= set(_PLACE.findall(walked))
    assert len(there) > 8


def test_a_fine_tuned_model_is_compared_with_its_start_unless_these_are_the_same_weights(
    bioclip: Bioclip, odd: Path
) -> None:
    catalog = collection("here", train=4, val=2)
    made = Path("made")
    (made / "training").mkdir(parents=True)

    def advised(start: str, share: float) -> str:
        (made / "training" / "settings.json").write_text(json.dumps({"config": {"start": start}}))
        (made / "ladder.json").write_text(json.dumps({"share_of_trained_weights": share}))
        return after_training(made, catalog)[0]

    assert "--compare demo --output" in advised("demo", 1.0)
    assert "--compare" not in advised("demo", 0.0)
    assert "--compare" not in advised("new:small", 1.0)


def test_the_commands_of_each_recommendation_can_be_given(bioclip: Bioclip, odd: Path) -> None:
    data, output = collection("here", train=8, val=2), "my model"
    moved = f"{Path('here').absolute()}={Path('there').absolute()}"
    Path("there").mkdir()
    for file in Path("here").glob("*.png"):
        file.rename(Path("there") / file.name)
    config = TrainConfig(data=data, start="fake", output=output, device="cpu", replace_prefix=(moved,))
    lines = [line for commands in commands_of(config, None, is_capped=True).values() for line in commands]
    assert {line.split()[1] for line in lines} == {"labels", "prototypes", "probe", "classify"}
    done = carry_out(bioclip, Outcome(0, "\n".join(next_lines(*lines[:1], then=lines[1:])), ""))
    assert set(done.values()) == {0}


CLASSIFY = ("classify", "one photo.png", "--store", "s.db")
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a missing catalog": (("evaluate", *FAKE, "--data", "no catalog.parquet", "--output", "o"), "catalog build"),
    "a file that is not Parquet": (("evaluate", *FAKE, "--data", "names.csv", "--output", "o"), "catalog build"),
    "a table that is not a catalog": (("train", "--data", "a table.parquet", "--start", "fake", "--output", "o"), "catalog build"),
    "a single taxon": (("train", "--data", "one/a catalog.parquet", "--start", "fake", "--output", "o"), "catalog show"),
    "no text tower": (("evaluate", "--model", "blind", "--data", "here/a catalog.parquet", "--output", "o"), "prototypes build"),
    "no label set": (("labels", "show", "my labels"), "labels build"),
    "no labels of the model": ((*CLASSIFY, *FAKE), "labels build"),
    "labels of another model": ((*CLASSIFY, "--model", "other", "--labels", "made labels"), "labels build"),
    "an unknown taxon": ((*CLASSIFY, *FAKE, "--labels", "made labels", "--taxa", "Nothing"), "labels search"),
    "no shards": (("shards", "check", "my shards"), "shards write"),
}  # fmt: skip
"""Commands that are refused, and the command that the message gives."""


@pytest.mark.parametrize("case", REFUSED)
def test_the_command_in_an_error_can_be_given(
    bioclip: Bioclip, odd: Path, monkeypatch: pytest.MonkeyPatch, manager: BioclipPluginManager, case: str
) -> None:
    manager.register(FakeModel("blind", text_tower=False), name="blind")
    manager.register(FakeModel("other"), name="other")
    collection("here", train=4, val=2)
    collection("one", train=1)
    parquet.write_table(pa.table({"image": ["one photo.png"], "genus": ["Lynx"], "eventID": ["1"]}), "a table.parquet")
    assert bioclip("labels", "build", "taxa.csv", *FAKE, "--output", "made labels").code == 0
    written: list[list[str]] = []
    own = bioclip_core.next_commands.shell_line
    monkeypatch.setattr(bioclip_core.next_commands, "shell_line", lambda words: written.append([*words]) or own(words))
    words, wanted = REFUSED[case]
    refused = bioclip(*words)
    assert refused.code == 1, refused.out + refused.err
    (advised,) = (given for given in written if " ".join(given[1:]).startswith(wanted) and own(given) in refused.err)
    done = bioclip(*filled(advised[1:]))
    assert done.code == 0, f"{advised}\n{done.out}{done.err}"
