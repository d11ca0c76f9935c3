"""Experiments on the papers' questions: their worlds, the arithmetic of their figures, and one cell from start to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.questions import relatives
from benchmarks.questions.__main__ import QUESTIONS, main
from benchmarks.questions.cells import Cell, Collection, Outcome, Study, plates_of, truth_N
from benchmarks.questions.figures import Sample, averaged, hits, joined, percent, points, table
from benchmarks.questions.question import Answered, Answers, gather
from benchmarks.questions.shared_cells import MIXTURE, trained_on
from benchmarks.questions.sizes import SMALL, Size
from benchmarks.questions.world import held_out, nearest
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.biosphere import Biosphere
from bioclip_training.catalog.rows import Catalog

TINY = Size(
    "tiny", families=4, species=12, plates=2, val_plates=1, image_size=32, width=4, transformer_width=32, text_width=32,
    embed_dim=16, steps=2, transformer_steps=2, fine_tuning_steps=1, batch_size=8, label_counts=(4, 8),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_BENCH_CACHE", str(tmp_path / "bench"))
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))


def species(*names: str) -> Taxon:
    return Taxon(*names)


def sample(*values: float) -> Sample:
    """Return a sample with one plate per species."""
    return Sample(np.array(values), np.arange(len(values)))


# -- worlds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", range(6))
def test_as_many_species_are_unseen_at_each_distance_whichever_classes_lose_them(shift: int) -> None:
    taxa = Biosphere.grow(seed=shift, families=SMALL.families, species=SMALL.species).taxa
    lost = held_out(taxa, shift)
    seen = [taxon for index, taxon in enumerate(taxa) if index not in lost]
    distances = [nearest(taxa[index], seen) for index in lost]
    assert {rank: distances.count(rank) for rank in set(distances)} == dict.fromkeys(
        (Rank.GENUS, Rank.FAMILY, Rank.ORDER, Rank.CLASS), 12
    )


def test_the_nearest_relative_is_known_by_the_whole_lineage_and_not_by_an_equal_name() -> None:
    taxon = species("K", "P", "C", "O", "F", "G", "one")
    assert nearest(taxon, [species("K", "P", "C", "O", "F", "G", "two")]) is Rank.GENUS
    assert nearest(taxon, [species("K", "P", "C", "O", "X", "G", "one")]) is Rank.ORDER
    assert nearest(taxon, [species("L", "P", "C", "O", "F", "G", "one")]) is None


def test_collections_of_the_question_about_diversity_are_equally_large_and_share_species() -> None:
    cells = QUESTIONS["diversity"].cells(SMALL, 0)
    sizes = {name: len(cell.collection.species) * (cell.collection.plates or 0) for name, cell in cells.items()}
    assert sizes == {"quarter": 24 * 48, "half": 48 * 24, "all": 96 * 12}
    assert (
        set(cells["quarter"].collection.species) < set(cells["half"].collection.species) < set(plates_of(SMALL, 0).seen)
    )


# -- figures -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_right_at_a_rank_if_the_whole_path_down_to_it_is() -> None:
    taxa = [
        species("K", "P", "C", "O", "F", "G", "one"),
        species("K", "P", "C", "O", "F", "G", "two"),
        species("K", "P", "C", "O", "F", "H", "one"),
    ]
    truth, answers = np.array([0, 0, 0, 2]), np.array([0, 1, 2, 0])
    assert hits(answers, truth, taxa, Rank.SPECIES, [0, 2]).hits_N.tolist() == [1, 0, 0, 0]
    assert hits(answers, truth, taxa, Rank.GENUS, [0, 2]).hits_N.tolist() == [1, 1, 0, 0]
    assert hits(answers, truth, taxa, Rank.FAMILY, [2]).hits_N.tolist() == [1]


def test_species_of_two_worlds_are_different_clusters() -> None:
    both = joined([Sample(np.array([1.0, 0.0]), np.array([3, 3])), Sample(np.array([1.0, 1.0]), np.array([3, 5]))])
    assert both.clusters_N.tolist() == [3, 3, 7, 9]
    assert both.mean == 0.75


def test_plates_of_one_species_count_as_one_observation() -> None:
    same = Sample(np.array([1.0] * 50 + [0.0] * 50), np.repeat([0, 1], 50))
    assert same.interval() == pytest.approx((0.0126, 0.9874), abs=1e-4), "two species: one of two draws, exactly"
    assert Sample(same.hits_N, np.arange(100)).interval()[0] > 0.35


def test_a_difference_is_of_the_same_plates() -> None:
    assert sample(1, 1, 0).minus(sample(0, 1, 1)).hits_N.tolist() == [1, 0, -1]
    with pytest.raises(ValueError, match="same plates"):
        sample(1, 1).minus(sample(1))


def test_figures_are_written_in_percent_and_differences_with_their_sign() -> None:
    assert percent(sample(1, 1, 1)) == "100.0 [29.2, 100.0]", "0.025 to the power 1/3"
    assert points(sample(1, 1).minus(sample(0, 1))).startswith("+50.0 [-")
    assert averaged([sample(1, 0), sample(0, 0)]).hits_N.tolist() == [0.5, 0]
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_table_of_relatives_counts_by_distance() -> None:
    """The model answers with the first species of the true family: correct at the family, and at the genus only for the first one."""
    plates = plates_of(SMALL, 0)
    first: dict[str, int] = {}
    for index, taxon in enumerate(plates.taxa):
        first.setdefault(taxon.family, index)
    answers = [first[plates.taxa[index].family] for index in truth_N(plates).tolist()]
    kept = {f"taxonomic_common/{labels}": answers for labels in ("all", "untrained")}
    world = Answered(plates, {MIXTURE: Outcome(kept, {})})
    report = relatives.QUESTION.report(Answers((world,), (), SMALL))
    row = next(line for line in report.splitlines() if line.startswith("| genus (12 species)"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3:] == ["100.0 [73.5, 100.0]"] * 3, "family, order and class: 0.025 to the power 1/12"
    assert 0 < float(cells[2].split()[0]) < 100, "genus"


# -- cells -------------------------------------------------------------------------------------------------------------


def test_a_cell_is_trained_once_and_answers_for_every_plate(tmp_path: Path) -> None:
    said: list[str] = []
    cell = trained_on(TINY, 0, "scientific")
    outcome = Study(TINY, say=said.append).outcome(cell)
    assert outcome is not None
    plates = plates_of(TINY, 0)
    assert len(outcome.species_N("common", "all")) == len(Catalog.open(plates.val_catalog())) == 12
    assert set(outcome.species_N("taxonomic", "untrained").tolist()) <= set(plates.unseen)
    assert outcome.facts["duplicate_captions"] > 0
    told = len(said)
    again = Study(TINY, may_train=False, say=said.append).outcome(cell)
    assert again is not None
    assert again.answers == outcome.answers
    assert len(said) == told
    files = list((tmp_path / "bench" / "questions" / "cells").glob("*.json"))
    assert [json.loads(file.read_text())["answers"] for file in files] == [outcome.answers]


def test_cells_without_a_model_are_missing_if_training_is_off() -> None:
    answers = gather(QUESTIONS["losses"], Study(TINY, may_train=False), [0])
    assert answers.worlds == ()
    assert answers.missing == tuple(
        f"{loss} {labels}" for loss in ("clip", "taxon") for labels in ("4", "4 short", "8", "8 short")
    )


def test_any_difference_makes_another_cell() -> None:
    plain = Cell(0, Collection("a", (1, 2)))
    others = (
        Cell(1, plain.collection), Cell(0, Collection("a", (1, 3))), Cell(0, plain.collection, {"loss": "clip"}),
        Cell(0, plain.collection, base=plain), Cell(0, plain.collection, vision="transformer"),
    )  # fmt: skip
    identities = {cell.identity(TINY) for cell in (plain, *others)} | {plain.identity(SMALL)}
    assert len(identities) == 7


def test_a_fine_tuned_model_knows_the_species_of_its_base_and_its_replay() -> None:
    base = Cell(0, Collection("old", (0, 1)))
    assert Cell(0, Collection("new", (4,)), base=base, replay=Collection("some", (1, 2))).trained == (0, 1, 2, 4)


def test_an_unknown_question_is_refused_with_the_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["lenses"])
    assert stopped.value.code == 2
    assert "unknown question lenses; choose from captions, losses" in capsys.readouterr().err
