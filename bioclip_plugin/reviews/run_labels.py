"""The label set that a run answered with, found again for looking names up in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError

if TYPE_CHECKING:
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_core.models import ModelEntry
    from bioclip_plugin.store import Run


def labels_of_run(
    run: Run | None, entries: Mapping[str, ModelEntry], folder: str | None = None
) -> tuple[LabelSet | None, str]:
    """The run's label set, restricted to the taxa that the run was, and a sentence where it cannot be had.

    Args:
        run: None where the store has no run yet.
        entries: the registered models, by name.
        folder: of the label set, where the user says it.

    Raises:
        LabelSetError: if the folder that the user gave holds no label set.
    """
    from bioclip_core.labels.checklist import subset_of
    from bioclip_core.labels.label_set import LabelSet

    if folder is not None:
        return LabelSet.open(folder), ""
    if run is None:
        return None, "the store has no run, so that names are looked up in the store alone"
    if run.answer_settings.get("words") is not None:
        return None, "the run had words of the user's own as labels, which are no taxa"
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
    from bioclip_core.models import find_model
    from bioclip_plugin.items.request import DEFAULT_MODEL, ClassifyRequest
    from bioclip_plugin.running.label_choice import choose_labels

    labels: Any = run.settings.get("labels")
    if isinstance(labels, str):
        return Path(labels).expanduser()
    request = ClassifyRequest(model=str(run.settings.get("model") or DEFAULT_MODEL))
    choice = choose_labels(request, find_model(request.model, entries, fetch=False))
    assert choice.folder is not None  # words were sorted out before
    return choice.folder
