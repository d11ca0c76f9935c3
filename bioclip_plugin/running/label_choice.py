"""The labels that a request means: a label set's folder, words of the user's own, or the labels of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.calibration import find_calibration
from bioclip_core.cells import column_name
from bioclip_core.device import choose_compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import DataError, LabelSetError, ModelUnavailable, SourceError, UsageError
from bioclip_core.files.homes import with_home
from bioclip_core.findings import Findings
from bioclip_core.hub import hub_file
from bioclip_core.identity import settings_id, user_cache
from bioclip_core.labels.label_set import LabelSet, custom_labels
from bioclip_core.labels.manifest import MANIFEST, check_made_for, read_manifest, seal_of
from bioclip_core.models import FoundModel, PublishedLabels
from bioclip_core.next_commands import command
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.tables.reading import is_table_name, lines_of, sure_rows
from bioclip_plugin.items.request import ClassifyRequest


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Labels that are chosen but not opened: their identity costs neither torch nor pyarrow."""

    folder: Path | None
    """Folder of a label set; None for words."""
    words: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    taxa: tuple[str, ...] = ()
    """The subset in use, empty for all."""
    manifest: dict[str, Any] | None = None
    temperature: float | None = None
    """Temperature that was fitted for the model with this label set, if any."""

    def identity(self) -> dict[str, Any]:
        """Return the part of an answer's identity beside the features: the label set and the subset in use."""
        subset = sorted(self.taxa)
        if self.manifest is None:
            return {"words": list(self.words), "groups": list(self.groups), "subset": subset}
        identity = {"label_set": self.manifest["id"], "blocks": self.manifest["blocks"], "subset": subset}
        # Left out without one, so that answers from before temperatures existed stay valid.
        return identity if self.temperature is None else {**identity, "temperature": self.temperature}

    def open(self, encoder: Encoder | None, model: FoundModel) -> LabelSet:
        """Return the label set, ready for a classifier; words need the encoder's text tower.

        Raises:
            LabelSetError: if it is damaged, belongs to another model, or lacks a taxon of the subset.
        """
        from bioclip_core.labels.checklist import subset_of

        if self.folder is None:
            assert encoder is not None
            labels = custom_labels(self.words, encoder, self.groups or None)
        else:
            labels = LabelSet.open(self.folder)
            if self.manifest is None or seal_of(labels.manifest) != seal_of(self.manifest):
                raise LabelSetError(
                    f"label set {self.folder} was replaced while this command ran; start the command again"
                )
            labels.check_model(model)
        return subset_of(labels, self.taxa) if self.taxa else labels


def choose_labels(request: ClassifyRequest, model: FoundModel) -> LabelChoice:
    """Find the labels of a request without opening them.

    Raises:
        LabelSetError: if they are missing or belong to another model.
        UsageError: if the given words, or a file of words, cannot be used.
    """
    if isinstance(request.labels, tuple):
        return LabelChoice(None, words=_checked_words(request.labels, "labels"), taxa=request.taxa)
    path = with_home(request.labels) if request.labels is not None else _default_folder(model)
    if request.labels is not None and is_word_file(path):
        words, groups = read_words(path)
        return LabelChoice(None, words=words, groups=groups, taxa=request.taxa)
    written, manifest = read_manifest(path)
    check_made_for(manifest.encoder, model.identity(), path)
    calibration = find_calibration(model, manifest.id)
    temperature = calibration.temperature if calibration else None
    return LabelChoice(path, taxa=request.taxa, manifest=written, temperature=temperature)


def is_word_file(path: Path) -> bool:
    """True if the name is that of a file of custom labels, not of a label set's folder."""
    return path.suffix.lower() == ".txt" or is_table_name(path)


def read_words(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return custom labels and their groups from a text file (one label per line) or a table with ``label`` and ``group``.

    Raises:
        DataError: if the file cannot be read, lacks the column ``label``, or has no or duplicate labels.
    """
    try:
        if path.suffix.lower() == ".txt":
            return _words_of_file(_sure_lines(path), path), ()
        table, rows = sure_rows(path, name=f"labels {path}", needed=("label",))
        headings = {column_name(heading): heading for heading in reversed(table.header)}
        if "label" not in headings:
            raise DataError(
                f"labels {path}: a column named label is needed (and may be joined by one named group); found "
                f"{table.headings.shown()}"
            )
        found = [row.cells for row in rows if headings["label"] in row.cells]
    except SourceError as error:
        raise DataError(f"labels {path} cannot be read: {error}") from None
    words = _words_of_file([str(cells[headings["label"]]).strip() for cells in found], path)
    group = headings.get("group")
    return words, tuple(str(cells.get(group, "")).strip() for cells in found) if group else ()


def _sure_lines(path: Path) -> list[str]:
    findings = Findings()
    lines = list(lines_of(path, None, findings))
    if findings:
        raise DataError(next(findings.lines()))
    return lines


def _words_of_file(words: Sequence[str], path: Path) -> tuple[str, ...]:
    try:
        return _checked_words(words, str(path))
    except UsageError as error:
        raise DataError(str(error)) from None


def _checked_words(words: Any, where: str) -> tuple[str, ...]:
    checked = tuple(dict.fromkeys(words))
    if not checked:
        raise UsageError(f"{where}: no labels; give at least one")
    if len(checked) != len(words):
        duplicate = next(word for word in checked if list(words).count(word) > 1)
        raise UsageError(f"{where}: duplicate label {duplicate!r}; give each label once")
    return checked


def label_folder_here(model: FoundModel) -> Path | None:
    """Return the folder of the label set that belongs to a model, if it is on this machine; needs no network."""
    if model.own_label_set or model.entry is None or model.entry.labels is None:
        return model.own_label_set
    folder = _cache_of(model, model.entry.labels)
    return folder if (folder / MANIFEST).is_file() else None


def _default_folder(model: FoundModel) -> Path:
    """Return the label set that belongs to a model; a published one is fetched once and converted to the user's cache.

    Raises:
        LabelSetError: if the model has none.
        ModelUnavailable: if it cannot be fetched.
    """
    from bioclip_core.labels.building import import_label_set

    if folder := label_folder_here(model):
        return folder
    if model.entry is None or model.entry.labels is None:
        raise LabelSetError(
            f"model {model.name!r} has no label set of its own; give --labels FOLDER with one that is made with: "
            f"{command('labels build', 'TABLE', model=model.name, output='FOLDER')}"
        )
    published = model.entry.labels
    try:
        embeddings, names = (
            hub_file(published.repository, name, revision=published.revision, kind="dataset", as_given=model.name)
            for name in (published.embeddings, published.names)
        )
    except ModelUnavailable as error:
        raise ModelUnavailable(f"the label set of {model.name}: {error}; or give --labels FOLDER") from None
    folder = _cache_of(model, published)
    import_label_set(embeddings, names, open_encoder(model, choose_compute()), folder)
    return folder


def _cache_of(model: FoundModel, published: PublishedLabels) -> Path:
    key = {"of": model.weights_sha256, "from": published.repository, "at": published.revision}
    return user_cache() / "label_sets" / settings_id(key)
