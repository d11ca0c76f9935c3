"""Mistakes of any stage are found before the first one is run, and by the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published_numbers import CsvLayout, write_source

from bioclip_core.errors import BioclipError
from bioclip_training.curation.configuration import (
    Curation,
    EvaluationSetConfig,
    NamesConfig,
    ShardsConfig,
    SourceConfig,
    SplitsConfig,
)
from bioclip_training.curation.plan import plan
from bioclip_training.curation.running import run_stages
from bioclip_training.curation.stage_list import stages
from bioclip_training.published import known


def test_what_a_later_stage_cannot_use_is_refused_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "layouts", lambda: (CsvLayout(),))
    source = write_source(tmp_path / "a", [{"record_id": "1", "uri": "1.jpg"}])
    empty = tmp_path / "empty.txt"
    empty.write_text("")

    def refused(**config: Any) -> str:
        given = Curation(tmp_path / "out", {"a": SourceConfig(source)}, **config)
        with pytest.raises(BioclipError) as planned:
            plan(given, stages())
        with pytest.raises(BioclipError) as error:
            run_stages(given, stages())
        assert str(error.value) == str(planned.value)
        assert not (tmp_path / "out").exists()
        return str(error.value)

    def told_of_set(**entry: Any) -> str:
        return refused(evaluation_sets={"rare": EvaluationSetConfig(source, **entry)})

    assert plan(Curation(tmp_path / "out", {"a": SourceConfig(source)}), stages()).stages[0].certain
    assert told_of_set(layout="cvs").endswith("layout 'cvs' is not known; known are csv; did you mean csv?")
    assert told_of_set(options={"nothin": 1}).startswith("evaluation set rare: layout csv has no option 'nothin'")
    assert "did you mean nabirds?" in told_of_set(suite="nabird")
    assert "has no folder of NABirds" in told_of_set(suite="nabirds")
    assert "has no species" in refused(splits=SplitsConfig(unseen_species=empty))
    assert "its splits are train, val; did you mean train?" in refused(shards=ShardsConfig(splits=("trian",)))
    assert "no taxonomy is given" in refused(names=NamesConfig(taxonomy_version="2"))
    assert "empty.txt" in refused(taxonomy=empty)
    assert "empty.txt" in refused(names=NamesConfig(common_names=(empty,)))
