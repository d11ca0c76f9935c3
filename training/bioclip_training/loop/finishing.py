"""The end of a training run: interpolation with the starting weights, the checkpoint's folder, its label set and its record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import Catalog
from bioclip_training.loop.checkpoint import LADDER, RunFolder, whole, write_model
from bioclip_training.loop.curves import draw_curves
from bioclip_training.loop.recipe import TrainingProgress, TrainResult

if TYPE_CHECKING:
    import torch

    from bioclip_training.batches.data import LabelledImages
    from bioclip_training.loop.start import Start
    from bioclip_training.loop.trainer import Trainer

    Weights = Mapping[str, torch.Tensor]


def finished_result(folder: RunFolder) -> TrainResult | None:
    """What a finished run made; None while it is not finished."""
    if not folder.result.is_file():
        return None
    values = json.loads(folder.result.read_text("utf-8"))
    return TrainResult(**{**values, "output": folder.output})


def finish(
    trainer: Trainer, start: Start, images: LabelledImages, replay: LabelledImages | None, settings: Mapping[str, Any]
) -> TrainResult:  # fmt: skip
    """Write the checkpoint of a run that has taken its last step, in its first process; the others wait."""
    result = _finish(trainer, start, images, replay, settings) if trainer.world.is_first else None
    made: TrainResult = trainer.world.agreed(result)
    return made


def _finish(
    trainer: Trainer, start: Start, images: LabelledImages, replay: LabelledImages | None, settings: Mapping[str, Any]
) -> TrainResult:  # fmt: skip
    from safetensors.torch import load_file

    from bioclip_training.loop.ladder import climb

    folder, config = trainer.folder, trainer.config
    best_step = trainer.best.step if trainer.best else trainer.step
    if not best_step and trainer.starting_weights is not None:
        _tell(trainer, "no step was better on dev than the start: its weights are kept")
        new: Weights = trainer.starting_weights
    else:
        new = load_file(folder.best(best_step))
    ladder = climb(trainer, start, images, new)
    weights = ladder.weights
    write_model(folder.output, weights, start.model_cfg, start.preprocess_cfg)
    for file in start.tokenizer_files:
        shutil.copyfile(file, folder.output / file.name)
    _write_label_set(folder, images, replay)
    result = TrainResult(
        folder.output, trainer.step, best_step, ladder.dev_top1, ladder.start_dev_top1, trainer.journal.quarantined_samples
    )  # fmt: skip
    _write_json(folder.output / LADDER, ladder.as_dict())
    _write_json(folder.output / "leakage.json", leakage_of(config.data))
    if not draw_curves(trainer.journal.lines(), folder.output / "curves.png"):
        _tell(trainer, "no curves.png: matplotlib is not installed (extra train)")
    _write_text(folder.output / "README.md", _model_card(result, settings, ladder.as_dict()))
    _write_json(folder.result, {**asdict(result), "output": str(result.output)})
    return result


def _write_label_set(folder: RunFolder, images: LabelledImages, replay: LabelledImages | None) -> None:
    """The labels that the checkpoint answers with where none are named: every taxon of its data, seen in training or not."""
    from bioclip_core.device import Compute
    from bioclip_core.labels.building import build_label_set
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder

    taxa: list[Taxon] = [*images.taxa, *(replay.taxa if replay else ())]
    found = find_model(f"local-dir:{folder.output}", {})
    # Where it lies now is nothing that a label set should remember: the folder will be moved.
    encoder = open_encoder(replace(found, source="trained"), Compute("cpu", "fp32", "label sets are made so"))
    labels = folder.output / "label_set"
    if labels.exists():
        shutil.rmtree(labels)  # of an earlier end of this run, with other weights
    build_label_set(taxa, encoder, labels)


def leakage_of(address: str) -> dict[str, Any]:
    """Whether anything of ``val`` or ``unseen`` was in ``train``: the same file, the same group, and unseen taxa."""
    from bioclip_training.shards.reading import open_index

    catalog = open_index(Path(address)).catalog if Path(address).is_dir() else Catalog.open(address)
    splits, train = np.array(catalog.column("split"), dtype=object), {}
    found: dict[str, Any] = {"data": address}
    for name in ("sha256", "group"):
        values = catalog.column(name)
        train[name] = {values[row] for row in np.flatnonzero(splits == "train") if values[row]}
    taxa_of_train = set(catalog.taxon_of_N[splits == "train"].tolist())
    for split in sorted(set(splits.tolist()) - {"train", ""}):
        rows = np.flatnonzero(splits == split)
        found[split] = {
            "images": len(rows),
            "same_file_as_in_train": sum(catalog.column("sha256")[row] in train["sha256"] for row in rows),
            "same_group_as_in_train": sum(catalog.column("group")[row] in train["group"] for row in rows),
            "taxa_of_train": sum(int(catalog.taxon_of_N[row]) in taxa_of_train for row in rows),
        }
    return found


def _model_card(result: TrainResult, settings: Mapping[str, Any], ladder: Mapping[str, Any]) -> str:
    config = settings["config"]
    replayed = f" with replay of `{config['replay']}`" if config["replay"] else ""
    lines = [
        "# A model trained by bioclip-plugin", "",
        f"Started from `{config['start']}`, trained on `{config['data']}`{replayed}:",
        f"{result.steps} steps of {config['batch_size']} images.",
        "", "Open it with `--model local-dir:` and this folder. `training/settings.json` has every setting, `metrics.jsonl`",
        "every step, `leakage.json` what held-out images share with the training data.", "",
        "On held-out images of `train` (`dev`), on which steps and interpolation were chosen; `evaluate --split val` says more:",
        "", "| | right | images |", "|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {rung['name']} | {rung['top1']:.1%} ({rung['top1_ci95'][0]:.1%} to {rung['top1_ci95'][1]:.1%}) | {rung['images']} |"
        for rung in ladder["rungs"]
    ]
    return "\n".join(lines) + "\n"


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    _write_text(file, json.dumps(values, indent=2) + "\n")


def _write_text(file: Path, text: str) -> None:
    with whole(file) as draft:
        draft.write_text(text, "utf-8")


def _tell(trainer: Trainer, message: str) -> None:
    if trainer.config.tell:
        trainer.config.tell(TrainingProgress(trainer.step, trainer.total, message=message))
