"""``ablate`` on the command line: example, plan, tables, and a report without training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from collections_of_discs import make_catalog, tiny_config
from command_samples import Bioclip

from bioclip_training.ablation.example import EXAMPLE

_QUICK = {"steps": 2, "batch_size": 4, "precision": "fp32", "wise_ft": False, "measure": False, "workers": 1}


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    collection = make_catalog(tmp_path / "discs", each=3, val=1)
    start = tiny_config(tmp_path)
    file = tmp_path / "a.yaml"
    text = f"data: {collection}\nstart: {start}\noutput: out\nseeds: [0]\ntrain: {json.dumps(_QUICK)}\ncompare: {{losses: [clip]}}\n"
    file.write_text(text, "utf-8")
    return file


def test_an_ablation_writes_tables_and_the_same_command_has_nothing_left_to_do(
    bioclip: Bioclip, configuration: Path, tmp_path: Path
) -> None:
    first = bioclip("ablate", configuration, "--rank", "genus")
    assert first.code == 0, first.err
    said = first.out + first.err
    assert "2 arms × 1 seed: 2 runs of 2 steps, 0 finished" in said
    assert "All runs are finished" in said
    table = (tmp_path / "out" / "ablation.md").read_text("utf-8")
    assert "| loss: clip |" in table
    assert table in first.out
    found = json.loads((tmp_path / "out" / "ablation.json").read_text("utf-8"))
    assert [(one["arm"], one["rank"]) for one in found["figures"]] == [
        ("recipe", "label"), ("loss: clip", "label"), ("recipe", "genus"), ("loss: clip", "genus"),
    ]  # fmt: skip
    # A field case: a run gave other results after other runs in the same process (HealthCatalyst/healthcareai-r#184).
    for facts in (tmp_path / "out" / "answers").glob("*.json"):
        if json.loads(facts.read_text("utf-8"))["arm"] == "loss: clip":
            facts.with_suffix(".npz").unlink()
    alone = bioclip("ablate", configuration, "--rank", "genus")
    assert "2 runs of 2 steps, 1 finished" in alone.out + alone.err
    assert json.loads((tmp_path / "out" / "ablation.json").read_text("utf-8")) == found
    again = bioclip("ablate", configuration, "--report", "--json")
    assert "2 runs of 2 steps, 2 finished" in again.err
    assert json.loads(again.out)["figures"] == [one for one in found["figures"] if one["rank"] == "label"]


def test_a_report_of_nothing_says_that_no_seed_is_finished(bioclip: Bioclip, configuration: Path) -> None:
    said = bioclip("ablate", configuration, "--report")
    assert said.code == 0, said.err
    assert "seeds none yet" in said.out
    assert "Not counted yet, since not every arm is trained with them: seeds 0." in said.out


def test_the_plan_says_what_one_run_takes_and_how_many_are_left(
    bioclip: Bioclip, configuration: Path, tmp_path: Path
) -> None:
    said = bioclip("ablate", configuration, "--plan")
    assert said.code == 0, said.err
    assert "Plan of the arm recipe:" in said.out + said.err
    assert "2 runs like this one are left" in said.out + said.err
    assert not (tmp_path / "out").exists()


def test_the_example_is_printed_and_a_missing_configuration_names_it(bioclip: Bioclip) -> None:
    assert bioclip("ablate", "--example").out == EXAMPLE
    refused = bioclip("ablate")
    assert refused.code == 2
    assert "CONFIG.yaml is missing; write one with: bioclip-plugin ablate CONFIG.yaml --example" in refused.err
    written = bioclip("ablate", "--example", "new.yaml")
    assert Path("new.yaml").read_text("utf-8") == EXAMPLE
    assert "bioclip-plugin ablate new.yaml --plan" in written.out
    again = bioclip("ablate", "--example", "new.yaml")
    assert again.code == 1
    assert again.err.strip() == "Error: the output new.yaml exists already: give another name"  # it has no --force
    assert "--rank 'tribe': allowed are kingdom, phylum" in bioclip("ablate", "a.yaml", "--rank", "tribe").err
