"""The example of the guide to curation is run, and its tables have every stage and every layout."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pyarrow import parquet

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_training.biosphere.publishing.__main__ import main as publish
from bioclip_training.curation.configuration_file import read_configuration
from bioclip_training.curation.kinds import IMAGE_KINDS
from bioclip_training.curation.stage_list import stages
from bioclip_training.published.known import layouts

GUIDE = (Path(__file__).parents[3] / "docs" / "curation.md").read_text("utf-8")


def test_the_example_of_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = re.search(r"<!-- example -->\n```\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert found
    for line in found[1].splitlines():
        program, *words = shlex.split(line)
        done = (
            publish([*words[2:], "--processes", "1"])
            if program == "python"
            else run(words, create_plugin_manager(installed=False))
        )
        assert done == 0, line
    assert "All is whole" in capsys.readouterr().out
    catalog = parquet.read_table("world/curated/catalog", columns=["source", "excluded", "split"])
    assert len(set(catalog["source"].to_pylist())) == 7
    assert {bool(row["excluded"]) for row in catalog.to_pylist()} == {True, False}


def test_every_stage_layout_and_kind_is_in_the_guide() -> None:
    missing = [stage.name for stage in stages() if f"| `{stage.name}` |" not in GUIDE]
    missing += [layout.name for layout in layouts() if f"`{layout.name}`" not in GUIDE]
    missing += [kind for kind in IMAGE_KINDS if kind not in GUIDE]
    assert missing == []


def test_the_configuration_in_the_guide_can_be_used(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert found
    (tmp_path / "c.yaml").write_text(found[1])
    config = read_configuration(tmp_path / "c.yaml")
    assert (config.memory, config.ranked_sources) == (8_000_000_000, ("museum", "inat21"))
    assert config.evaluation_sets["rare_species"].taxa == "exclude"
