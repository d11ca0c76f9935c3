"""The end of a training run: interpolation with the starting weights, the folder of the checkpoint, its label set and record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from bioclip_core.device import Compute
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove_tree
from bioclip_core.labels.building import build_label_set
from bioclip_core.models import ModelEntry, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.progress import Progress
from bioclip_training.catalog.trained_models import LADDER
from bioclip_training.catalog.trained_on import Seen, trained_on
from bioclip_training.loop.building import Plan
from bioclip_training.loop.checkpoint import RunFolder, checkpoint_file, write_json, write_model
from bioclip_training.loop.curves import draw_curves
from bioclip_training.loop.ladder import Ladder, climb
from bioclip_training.loop.model_card import CardFacts, model_card
from bioclip_training.loop.recipe import TrainResult
from bioclip_training.loop.trainer import Trainer, exported_weights
from bioclip_training.shards.collection import open_collection
from bioclip_training.towers.model import Towers


@dataclass(frozen=True, slots=True)
class _StoredResult:
    """The part of a result that does not change when its folder is moved."""

    steps: int
    best_step: int
    dev_top1: float | None
    start_dev_top1: float | None
    quarantined: int
    dev_images: int = 0
    dev_groups: int = 0
    rule: str = ""
    recommendation: str = ""
    commands: tuple[str, ...] = ()


def finished_result(folder: RunFolder) -> TrainResult | None:
    """Return the result of a finished run; None while it is not finished."""
    if not folder.result.is_file():
        return None
    stored = read_document(folder.result, _StoredResult, name="the result of the training run")
    return TrainResult(folder.output, **asdict(stored))


def finish(
    trainer: Trainer, towers: Towers, plan: Plan, settings: Mapping[str, Any], models: Mapping[str, ModelEntry]
) -> TrainResult:
    """Write the checkpoint of a run that has taken its last step, in its first process; the others wait.

    Args:
        trainer: the trainer of the run.
        towers: towers that take weights as the checkpoint has them.
        plan: the plan of the run.
        settings: the stored settings of the run.
        models: the registry of models, by name.
    """
    result = _finish(trainer, towers, plan, settings, models) if plan.world.is_first else None
    made: TrainResult = plan.world.agreed(result)
    return made


def _finish(
    trainer: Trainer, towers: Towers, plan: Plan, settings: Mapping[str, Any], models: Mapping[str, ModelEntry]
) -> TrainResult:
    folder, output, start = plan.folder, plan.folder.output, plan.start
    new = _trained_weights(trainer)
    ladder = climb(trainer, towers, plan, new, models)
    write_model(output, ladder.weights, start.model_cfg, start.preprocess_cfg)
    for file in start.tokenizer_files:
        shutil.copyfile(file, output / file.name)
    _write_label_set(plan, trainer.stage("Encoding the labels"))
    trainer.stage("Writing the record")(0, 0)
    best_step = trainer.best.step if trainer.best else trainer.step
    if ladder.share == 0.0:
        best_step = 0
        trainer.say("the trained weights are not better on dev than the start: its weights are kept")
    result = TrainResult(
        output, trainer.step, best_step, ladder.dev_top1, ladder.start_dev_top1, trainer.journal.quarantined_samples,
        ladder.evidence.images, ladder.evidence.groups, ladder.rule,
        *((ladder.recommendation.sentence, ladder.recommendation.commands) if ladder.recommendation else ()),
    )  # fmt: skip
    leakage = _leakage_of(plan.config.data)
    write_json(output / LADDER, ladder.as_dict())
    parts = [Seen.of(part.catalog, part.rows) for part in (plan.images, plan.replay) if part is not None]
    Seen.together([*parts, *filter(None, [trained_on(start.folder)])]).write(output)
    write_json(output / "leakage.json", leakage)
    if not draw_curves(trainer.journal.lines(), output / "curves.png"):
        trainer.say("no curves.png: matplotlib is not installed (extra train)")
    with checkpoint_file(output / "README.md") as draft:
        draft.write_text(model_card(_card_facts(plan, settings, trainer.step, ladder, leakage)), "utf-8")
    write_json(folder.result, {**asdict(result), "output": str(output)})
    return result


def _card_facts(
    plan: Plan, settings: Mapping[str, Any], steps: int, ladder: Ladder, leakage: Mapping[str, Any]
) -> CardFacts:
    return CardFacts(
        str(plan.folder.output.absolute()), settings["config"], steps, ladder.as_dict(), ladder.evidence.shows, ladder.evidence.can_choose,
        leakage, settings["made_with"], plan.images.catalog, plan.replay.catalog if plan.replay else None, plan.start.licence,
        plan.start.citation, plan.start.identity.get("source", ""),
    )  # fmt: skip


def _trained_weights(trainer: Trainer) -> Mapping[str, torch.Tensor]:
    """Return the trained weights of the best step; of the last one if a state of an earlier version names none."""
    if trainer.best is not None:
        return load_file(trainer.folder.best(trainer.best.step))
    with trainer.optimizer.averaged():
        return exported_weights(trainer.towers, trainer.config)


def _write_label_set(plan: Plan, report: Progress) -> None:
    """Write the label set with which the checkpoint answers by default: every taxon of its data, seen in training or not."""
    found = find_model(f"local-dir:{plan.folder.output}", {})
    # The source is not the folder's present place, which may change.
    encoder = open_encoder(replace(found, source="trained"), Compute("cpu", "fp32", "label sets are made so"))
    labels = plan.folder.output / "label_set"
    if labels.exists():
        remove_tree(labels)  # of an earlier end of this run, with other weights
    build_label_set(plan.taxa, encoder, labels, progress=report)


def _leakage_of(address: str) -> dict[str, Any]:
    """Count the images of other splits whose file, group or taxon is in ``train`` too."""
    catalog = open_collection(address)
    splits = np.array(catalog.column("split"), dtype=object)
    values = {name: np.array(catalog.column(name), dtype=object) for name in ("sha256", "group")}
    in_train = {name: set(column[splits == "train"]) - {"", None} for name, column in values.items()}
    taxa_of_train = set(catalog.taxon_of_N[splits == "train"].tolist())
    found: dict[str, Any] = {"data": address}
    for split in sorted({*splits} - {"train", ""}):
        found[split] = {
            "images": int((splits == split).sum()),
            "same_file_as_in_train": sum(value in in_train["sha256"] for value in values["sha256"][splits == split]),
            "same_group_as_in_train": sum(value in in_train["group"] for value in values["group"][splits == split]),
            "taxa_of_train": sum(taxon in taxa_of_train for taxon in catalog.taxon_of_N[splits == split].tolist()),
        }
    return found
