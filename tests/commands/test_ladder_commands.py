"""The rungs of ``train``'s ladder are what their printed commands give: the same hits on the same images."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from collections_of_discs import make_catalog, tiny_config
from command_samples import Bioclip

from bioclip_core.labels.label_set import LabelSet
from bioclip_training.catalog.rows import Catalog
from bioclip_training.loop.checkpoint import write_model
from bioclip_training.loop.start import open_start

DEV = 0.3
ODD = "discs & co's"
"""Name of a folder in which every unquoted command fails."""


@pytest.fixture
def start(bioclip: Bioclip, tmp_path: Path) -> str:
    """Untrained model, whose features tell colours apart all the same, in the working directory."""
    assert bioclip  # the fixture sets the working directory
    new = open_start(tiny_config(tmp_path), {}, seed=0)
    write_model(Path("old model"), new.model.state_dict(), new.model_cfg, new.preprocess_cfg)
    return "local-dir:old model"


def ladder_of(bioclip: Bioclip, data: str, start: str, output: str, *options: str) -> tuple[dict[str, Any], str]:
    said = bioclip(
        "train", "--data", data, "--start", start, "--output", output, "--steps", "1", "--batch-size", "16", "--device", "cpu",
        "--precision", "fp32", "--dev-fraction", str(DEV), "--workers", "1", *options,
    )  # fmt: skip
    assert said.code == 0, said.err
    return json.loads(Path(output, "ladder.json").read_text("utf-8")), said.out


def share_right(bioclip: Bioclip, commands: list[str], dev: Mapping[str, str], store: str) -> float:
    """Carry out the commands of a rung on the images of dev, and return the share whose best candidate is right."""
    for text in commands:
        words = shlex.split(text)[1:]
        if words[0] == "classify":
            words[words.index("PATHS") : words.index("PATHS") + 1] = list(dev)
            words += ["--store", store, "--threshold", "0.001"]  # the most probable species
        said = bioclip(*words)
        assert said.code == 0, f"{text}: {said.err}"
    assert bioclip("export", "--store", store, "--format", "csv", "--output", f"{store}.csv").code == 0
    with Path(f"{store}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(dev)
    return sum(row["scientific_name"] == dev[row["uri"]] for row in rows) / len(rows)


def dev_of(data: Path) -> dict[str, str]:
    """Return the species of each image of dev, by its path."""
    catalog = Catalog.open(data)
    rows = catalog.rows_of("dev", dev_fraction=DEV).tolist()
    return {str(catalog.path(row)): catalog.taxon(row).scientific_name for row in rows}


def test_each_rung_without_training_is_what_its_commands_answer(bioclip: Bioclip, start: str) -> None:
    data = make_catalog(Path(ODD), each=24)
    ladder, said = ladder_of(bioclip, str(data), start, f"{ODD}/new model")
    rungs = {rung["name"]: rung for rung in ladder["rungs"]}
    dev = dev_of(data)
    assert len(dev) == rungs["probe"]["images"] >= 20
    for number, name in enumerate(("start model", "prototypes", "probe")):
        found = share_right(bioclip, rungs[name]["commands"], dev, f"{number}.db")
        assert found == pytest.approx(rungs[name]["top1"]), name
    learnt = len(Catalog.open(data).rows_of("train", dev_fraction=DEV))
    assert LabelSet.open(f"{ODD}/new model_probe").manifest["examples"] == learnt  # and none of dev
    assert ladder["recommendation"]["sentence"] in " ".join(said.split())
    printed = [line.split(maxsplit=1)[1].strip() for line in said.splitlines() if line.startswith(("Next:", "then:"))]
    assert [text for text in ladder["recommendation"]["commands"] if text not in printed] == []


def test_a_probe_of_shards_is_the_rung_of_their_training(bioclip: Bioclip, start: str) -> None:
    data = make_catalog(Path("discs"), each=14)
    assert bioclip("shards", "write", str(data), "--output", "shards").code == 0
    ladder, _ = ladder_of(bioclip, "shards", start, "new", "--no-wise-ft")
    rungs = {rung["name"]: rung for rung in ladder["rungs"]}
    dev = dev_of(data)
    for number, name in enumerate(("start model", "probe")):
        assert share_right(bioclip, rungs[name]["commands"], dev, f"{number}.db") == pytest.approx(rungs[name]["top1"])


def test_merged_weights_of_lora_answer_as_the_rung_and_a_finished_run_recommends_the_same(
    bioclip: Bioclip, start: str
) -> None:
    data = make_catalog(Path("discs"), each=8)
    ladder, first = ladder_of(bioclip, str(data), start, "new", "--method", "lora")
    (kept,) = (rung for rung in ladder["rungs"] if rung["name"] == ladder["kept"] == "lora, trained")
    assert share_right(bioclip, kept["commands"], dev_of(data), "kept.db") == pytest.approx(kept["top1"])
    assert "are too few to choose a way to retrain. The safe default is the " in " ".join(first.split())
    _, again = ladder_of(bioclip, str(data), start, "new", "--method", "lora")
    assert ladder["recommendation"]["sentence"] in " ".join(again.split())
    as_json = bioclip(
        "train", "--data", str(data), "--start", start, "--output", "new", "--steps", "1", "--batch-size", "16", "--device", "cpu",
        "--precision", "fp32", "--dev-fraction", str(DEV), "--workers", "1", "--json",
        "--method", "lora",
    )  # fmt: skip
    assert json.loads(as_json.out)["recommendation"] == ladder["recommendation"]["sentence"]
    assert json.loads(as_json.out)["commands"] == ladder["recommendation"]["commands"]
