"""Writing the folder of an AddaxAI 7 model: whole, or not there."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import chain, count
from pathlib import Path
from typing import Any

from bioclip_core import __version__
from bioclip_core.classify import Classifier
from bioclip_core.encoder import Encoder
from bioclip_core.errors import BioclipError, ModelError, UsageError
from bioclip_core.files.present import is_folder
from bioclip_core.files.whole import whole_folder
from bioclip_core.models import FoundModel
from bioclip_core.open_clip_encoder import OpenClipEncoder
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.addaxai.weights import rows_in_order, write_weights

WEIGHTS, CODE, TAXONOMY, MANIFEST = "model.pt", "inference.py", "taxonomy.csv", "manifest.json"
FORMAT_VERSION = 1
MANY_CLASSES = 5_000
"""Number of classes from which AddaxAI's results, every class of every crop, take most of the time and the disk."""

_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HEADER = ("model_class", "class", "order", "family", "genus", "species")


@dataclass(frozen=True, slots=True)
class Exported:
    """Description of a written model folder."""

    folder: Path
    classes: int
    bytes: int
    stored_as: str
    """``float16`` or ``float32``, the type in which the tower's weights are stored; they are used in float32."""
    largest_difference: float
    """Largest difference of a probability between the traced model and the model itself."""


def export_folder(
    model: FoundModel, encoder: Encoder, classifier: Classifier, folder: Path, *, name: str = "", force: bool = False
) -> Exported:
    """Write a model and its labels as AddaxAI's model folder.

    Args:
        model: the model of the encoder.
        encoder: in float32 on the CPU.
        classifier: its labels, in float32 on the CPU.
        folder: its name becomes the model's id.
        name: name in AddaxAI; empty for one made of the model's name and the number of labels.
        force: replace an existing model folder.

    Raises:
        UsageError: if the folder's name is not valid for a model.
        ModelError: if open_clip does not load the model, or if it cannot be traced.
        BioclipError: if the output exists or cannot be written.
    """
    if not isinstance(encoder, OpenClipEncoder):
        raise ModelError(
            f"model {model.name!r} has an encoder of a plugin: only models that open_clip loads can be exported"
        )
    labels = classifier.labels
    taxa = [labels.taxon(int(row)) for row in rows_in_order(labels)]
    names = class_names(taxa)
    settings = {
        "format_version": FORMAT_VERSION,
        "classes": names,
        "preprocessing": model.preprocessing.identity(),
        "model": model.identity(),
        "label_set": labels.manifest["id"],
        "temperature": classifier.temperature,
        "bioclip_plugin": __version__,
    }
    with whole_folder(folder, partial(check_folder, folder, force=force)) as draft:
        found = write_weights(draft / WEIGHTS, encoder, classifier, settings)
        (draft / TAXONOMY).write_text(taxonomy_csv(names, taxa), "utf-8")
        (draft / CODE).write_text((files("bioclip_plugin.formats.addaxai") / CODE).read_text("utf-8"), "utf-8")
        manifest = json.dumps(_manifest(model, folder.name, name, taxa), ensure_ascii=False, indent=2)
        (draft / MANIFEST).write_text(manifest + "\n", "utf-8")
        size = sum(file.stat().st_size for file in draft.iterdir())
    return Exported(folder, len(names), size, found["stored_as"], found["largest_difference"])


def check_folder(folder: Path, *, force: bool) -> None:
    """Refuse an output that cannot be written, before the work is done.

    Raises:
        UsageError: if its name is not valid for a model.
        BioclipError: if its parent is missing, or it exists and may not be replaced.
    """
    if not _MODEL_ID.fullmatch(folder.name):
        raise UsageError(
            f"output {folder}: its name becomes the model's id in AddaxAI, such as BIOCLIP-EUR-v1: letters, digits, -, _ and . only"
        )
    if not is_folder(folder.parent):
        raise BioclipError(f"the folder {folder.parent} of the output {folder.name} does not exist: make it first")
    if not os.path.lexists(folder):
        return
    if not force:
        raise BioclipError(f"the output {folder} exists already: give another name, or --force to replace it")
    held = {entry.name for entry in folder.iterdir()} if is_folder(folder) and not folder.is_symlink() else {""}
    if held and not {MANIFEST, CODE} <= held:
        raise BioclipError(
            f"the output {folder} is not a model folder of AddaxAI, and is not replaced: give another name"
        )


def _manifest(model: FoundModel, model_id: str, name: str, taxa: list[Taxon]) -> dict[str, Any]:
    """Return AddaxAI's ``manifest.json``."""
    entry = model.entry
    shown = entry.name if entry else (model.folder.name if model.folder else model.name)
    repository = model.source.removeprefix("hf-hub:").partition("@")[0]
    described = f"{entry.description}. " if entry and entry.description else ""
    return {
        "model_id": model_id,
        "friendly_name": name.strip() or f"BioCLIP {shown} ({len(taxa):,} labels)",
        "env": "pytorch",
        "model_fname": WEIGHTS,
        "description": (
            f"{described}A BioCLIP model with {len(taxa):,} labels, exported by bioclip-plugin {__version__} "
            f"from weights {model.weights_sha256[:12]}."
        ),
        "description_short": f"BioCLIP with {len(taxa):,} labels",
        "developer": f"exported by bioclip-plugin {__version__}",
        "citation": entry.citation if entry and entry.citation else None,
        "license": entry.licence if entry and entry.licence else None,
        # A path on the user's machine stays private.
        "info_url": f"https://huggingface.co/{repository}" if model.source.startswith("hf-hub:") else "",
        "min_app_version": "7.0.0",
        "region": "global",
    }


def class_names(taxa: Sequence[Taxon]) -> list[str]:
    """Return a name for each taxon, in lower case and unique, by which AddaxAI joins results to the table.

    It is the scientific name, or a custom label's words. Equal names (a genus of plants and one of animals) are followed by
    their ancestors, and by a number if those are equal too.
    """
    plain = [_lower(taxon.scientific_name or taxon.common_name) or "unnamed" for taxon in taxa]
    counts = Counter(plain)
    names: dict[str, None] = {}
    for name, taxon in zip(plain, taxa, strict=True):
        ancestors = [_lower(rank) for rank in reversed(taxon.lineage[:5]) if rank and _lower(rank) != name]
        whole = f"{name} ({', '.join(ancestors)})" if ancestors and counts[name] > 1 else name
        numbered = chain([whole], (f"{whole} {number}" for number in count(2)))
        names[next(one for one in numbered if one not in names)] = None
    return list(names)


def taxonomy_csv(names: Sequence[str], taxa: Sequence[Taxon]) -> str:
    """Return ``taxonomy.csv``: one row per class, in lower case, with the epithet as species and empty cells for unknown ranks."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    for name, taxon in zip(names, taxa, strict=True):
        rows.writerow([name, *map(_lower, taxon.lineage[2:])])
    return text.getvalue()


def _lower(text: str) -> str:
    return " ".join(text.split()).lower()
