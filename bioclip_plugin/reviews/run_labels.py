"""The label set that a run answered with, opened again to look names up in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_core.labels.checklist import subset_of
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import ModelEntry, find_model
from bioclip_plugin.items.request import DEFAULT_MODEL, ClassifyRequest
from bioclip_plugin.running.label_choice import choose_labels
from bioclip_plugin.store import Run


def labels_of_run(
    run: Run | None, entries: Mapping[str, ModelEntry], folder: str | None = None
) -> tuple[LabelSet | None, str]:
    """Return the run's label set, restricted to the run's taxa, or None and the reason why it is not available.

    Args:
        run: None if the store has no run yet.
        entries: the registered models, by name.
        folder: folder of the label set, if the user gives it.

    Raises:
        LabelSetError: if the folder that the user gave is not a label set.
    """
    if folder is not None:
        return LabelSet.open(folder), ""
    if run is None:
        return None, "the store has no run, so that names are looked up in the store alone"
    if run.answer_settings.get("words") is not None:
        return None, "the run had words of the user's own as labels, which are not taxa"
    try:
        found = _folder_of(run, entries)
        identity = json.loads((found / "label_set.json").read_text("utf-8")).get("id")
        if identity != run.answer_settings.get("label_set"):
            return None, f"the label set {found} is not the one that run {run.id} answered with; give it with --labels"
        labels = LabelSet.open(found)
        taxa = tuple(run.settings.get("taxa") or ())
        return (subset_of(labels, taxa) if taxa else labels), ""
    except (BioclipError, OSError, ValueError) as error:
        return None, f"the label set of run {run.id} cannot be opened ({error}); give it with --labels"


def _folder_of(run: Run, entries: Mapping[str, ModelEntry]) -> Path:
    labels: Any = run.settings.get("labels")
    if isinstance(labels, str):
        return Path(labels).expanduser()
    request = ClassifyRequest(model=str(run.settings.get("model") or DEFAULT_MODEL))
    choice = choose_labels(request, find_model(request.model, entries, fetch=False))
    assert choice.folder is not None  # labels_of_run has returned for words already
    return choice.folder
