"""The objects that plugins register, each behind a stand-in that names the plugin in whatever goes wrong in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError, SourceError, UsageError
from bioclip_core.models import ModelEntry
from bioclip_plugin.contracts.checking import checked_entry, checked_features, checked_name, faults_of_rows, is_number
from bioclip_plugin.contracts.containing import Garbage, Owner, reason_of, shown
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.items.media import MediaItem, Unlisted, uri_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.device import Compute
    from bioclip_core.preprocessing import Preprocessing
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.contracts.export_options import ExportOptions
    from bioclip_plugin.contracts.source import ListingOptions

_MOST_PROBLEMS = 1_000_000
_HUB = ("hf-hub:", "local-dir:")


# Models


def contained_model(entry: Any, owner: Owner) -> ModelEntry:
    """Return a model entry whose encoder is contained."""
    if not isinstance(entry, ModelEntry):
        raise Garbage(f"register_models registered {shown(entry)}; a ModelEntry is needed")
    name = checked_name(entry.name, "model")
    texts = [getattr(entry, field) for field in ("source", "description", "licence", "citation")]
    if not all(isinstance(text, str) for text in texts) or not entry.source.strip():
        raise Garbage(f"the model {name} has texts that are not texts, or no source")
    if not isinstance(entry.preprocessing, Mapping):
        raise Garbage(f"the model {name} has the preprocessing {shown(entry.preprocessing)}; a mapping is needed")
    if entry.dimension is not None and not (isinstance(entry.dimension, int) and entry.dimension > 0):
        raise Garbage(f"the model {name} has the dimension {shown(entry.dimension)}; a whole number from 1 is needed")
    if entry.open_encoder is None:
        return entry
    if not callable(entry.open_encoder):
        raise Garbage(f"the model {name} has the open_encoder {shown(entry.open_encoder)}; a function is needed")
    return replace(entry, open_encoder=_opener(entry, owner))


def _opener(entry: ModelEntry, owner: Owner) -> Callable[[Compute], ContainedEncoder]:
    make = entry.open_encoder
    assert make is not None
    what = f"opening the model {entry.name}"

    def open_contained(compute: Compute) -> ContainedEncoder:
        encoder = owner.call(what, make, compute)
        return owner.call(what, ContainedEncoder, encoder, entry, owner)

    return open_contained


class ContainedEncoder:
    """An encoder of a plugin: its features are checked, and its errors name the plugin."""

    def __init__(self, encoder: Any, entry: ModelEntry, owner: Owner) -> None:
        """Read and check the properties of the encoder."""
        self._encoder, self._owner, self._name = encoder, owner, entry.name
        self.identity: dict[str, str] = encoder.identity
        self.preprocessing: Preprocessing = encoder.preprocessing
        self.dimension: int = encoder.dimension
        self.logit_scale: float = encoder.logit_scale
        self.logit_bias: float = encoder.logit_bias
        if not isinstance(self.dimension, int) or self.dimension < 1:
            raise Garbage(f"the encoder of {entry.name} has the dimension {shown(self.dimension)}")
        if entry.dimension not in (None, self.dimension):
            raise Garbage(
                f"the encoder of {entry.name} has features of {self.dimension} numbers; its entry says {entry.dimension}"
            )
        if not is_number(self.logit_scale) or not is_number(self.logit_bias):
            raise Garbage(
                f"the encoder of {entry.name} has the logit scale {shown(self.logit_scale)} and the bias {shown(self.logit_bias)}; "
                "finite numbers are needed"
            )
        if not isinstance(self.identity, Mapping) or not isinstance(self.identity.get("weights_sha256"), str):
            raise Garbage(
                f"the encoder of {entry.name} has the identity {shown(self.identity)}, without weights_sha256"
            )

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return B×D features.

        Raises:
            PluginError: if the encoder fails, and for features that cannot be used.
        """
        features_BD, faults = self.encode_each(images_BHWC)
        for row, fault in faults.items():
            raise self._owner.blamed(self._what, Garbage(f"{self._what}, image {row + 1}: {fault}"))
        return features_BD

    def encode_each(self, images_BHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float16], dict[int, str]]:
        """Return B×D features and the faults of rows that cannot be used.

        Raises:
            PluginError: if the encoder fails as a whole.
        """
        import numpy as np

        rows = self._owner.call(self._what, self._encoder.encode_images, images_BHWC)
        features_BD = self._checked(rows, len(images_BHWC), self._what)
        faults = {row: f"{self._owner}: {fault}" for row, fault in faults_of_rows(features_BD).items()}
        return features_BD.astype(np.float16), faults

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return N×D features.

        Raises:
            NoTextTower: if the encoder is image-only.
            PluginError: if the encoder fails, and for features that cannot be used.
        """
        what = f"encode_texts of {self._name}"
        features_ND = self._checked(self._owner.call(what, self._encoder.encode_texts, list(texts)), len(texts), what)
        for row, fault in faults_of_rows(features_ND).items():
            raise self._owner.blamed(what, Garbage(f"{what}, {texts[row]!r}: {fault}"))
        return features_ND

    @property
    def _what(self) -> str:
        return f"encode_images of {self._name}"

    def _checked(self, rows: Any, count: int, what: str) -> NDArray[np.float32]:
        return self._owner.call(what, checked_features, rows, count, self.dimension, what)


# Sources


def contained_source(source: Any, owner: Owner) -> ContainedSource:
    """Return a source behind its stand-in."""
    name = checked_name(getattr(source, "name", None), "source")
    for method in ("takes", "items"):
        if isinstance(source, type) or not callable(getattr(source, method, None)):
            raise Garbage(f"the source {name} is {shown(source)}; an object with takes and items is needed")
    if callable(getattr(source, "reviews", None)):
        return ContainedReviewingSource(source, name, owner)
    return ContainedSource(source, name, owner)


class ContainedSource:
    """A source of a plugin."""

    def __init__(self, source: Any, name: str, owner: Owner) -> None:
        self.name, self._source, self._owner = name, source, owner
        self.reads_tables = bool(getattr(source, "reads_tables", False))

    def takes(self, address: str) -> bool:
        """True if the address is for this source.

        Raises:
            PluginError: if the source fails or says neither yes nor no.
        """
        what = f"takes of the source {self.name}"
        answer = self._owner.call(what, self._source.takes, address)
        if type(answer).__name__ not in ("bool", "bool_"):
            raise self._owner.blamed(what, Garbage(f"{what} returned {shown(answer)}; True or False is needed"))
        return bool(answer)

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        """Yield the items; an entry that cannot be used, and a source that fails, is an ``Unlisted`` with the reason.

        Raises:
            SourceError, UsageError: if the source says so.
        """
        what = f"the source {self.name}"
        count = 0
        try:
            entries = self._owner.call(what, self._source.items, address, options)
            for entry in self._owner.iterate(what, entries):
                count += 1
                yield self._checked(entry, address, count)
        except BioclipError as error:
            if isinstance(error, (SourceError, UsageError)) or error.plugin_name != self._owner.name:
                raise
            yield Unlisted(f"{uri_of(address)}#entry={count + 1}", reason_of(error))

    def _checked(self, entry: Any, address: str, number: int) -> MediaItem | Unlisted:
        try:
            return self._owner.call(f"reading an entry of the source {self.name}", checked_entry, entry)
        except BioclipError as error:
            uri = getattr(entry, "uri", None)
            named = isinstance(uri, str) and bool(uri.strip())
            return Unlisted(str(uri) if named else f"{uri_of(address)}#entry={number}", reason_of(error))


class ContainedReviewingSource(ContainedSource):
    """A source of a plugin whose files also hold reviews."""

    def reviews(self, address: str, options: ListingOptions) -> Iterator[Any]:
        """Yield the reviews.

        Raises:
            PluginError: if the source fails, or gives something else.
        """
        from bioclip_plugin.store.records import StatedReview

        what = f"reviews of the source {self.name}"
        for review in self._owner.iterate(what, self._owner.call(what, self._source.reviews, address, options)):
            if not isinstance(review, StatedReview):
                raise self._owner.blamed(what, Garbage(f"{what} gave {shown(review)}; a StatedReview is needed"))
            yield review


# Exporters


def contained_exporter(exporter: Any, owner: Owner) -> ContainedExporter:
    """Return an exporter behind its stand-in."""
    name = checked_name(getattr(exporter, "name", None), "format")
    for method in ("write", "recognises", "check"):
        if isinstance(exporter, type) or not callable(getattr(exporter, method, None)):
            raise Garbage(
                f"the format {name} is {shown(exporter)}; an object with write, recognises and check is needed"
            )
    if not isinstance(getattr(exporter, "folder", None), bool) or not isinstance(
        getattr(exporter, "description", None), str
    ):
        raise Garbage(f"the format {name} needs description, a text, and folder, True or False")
    return ContainedExporter(exporter, name, owner)


class ContainedExporter:
    """An exporter of a plugin. Its optional attributes are copied, by which the command knows its kind."""

    def __init__(self, exporter: Any, name: str, owner: Owner) -> None:
        self.name, self._exporter, self._owner = name, exporter, owner
        self.description: str = " ".join(exporter.description.split())
        self.folder: bool = exporter.folder
        for attribute in ("options", "files"):
            if hasattr(exporter, attribute):
                names = getattr(exporter, attribute)
                if isinstance(names, str) or not all(isinstance(one, str) for one in names):
                    raise Garbage(f"the format {name} has {attribute} {shown(names)}; a list of names is needed")
                setattr(self, attribute, tuple(names))
        if hasattr(exporter, "names_deployments"):
            self.names_deployments = bool(exporter.names_deployments)
        for method in ("others", "committed", "abandoned"):
            if callable(getattr(exporter, method, None)):
                setattr(self, method, getattr(self, f"_{method}"))

    def write(self, path: Path, export: Export) -> int:
        """Write the items and return the number of rows.

        Raises:
            BioclipError: if the exporter fails, with the plugin's name.
        """
        rows = self._call("write", path, export)
        if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
            raise self._garbage("write", rows, "the number of rows")
        return rows

    def recognises(self, path: Path) -> bool:
        """True if a file is of this format.

        Raises:
            PluginError: if the exporter fails, or says neither yes nor no.
        """
        answer = self._call("recognises", path)
        if type(answer).__name__ not in ("bool", "bool_"):
            raise self._garbage("recognises", answer, "True or False")
        return bool(answer)

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        """Yield the problems of a file.

        Raises:
            PluginError: if the exporter fails, or gives something else.
        """
        what = f"check of the format {self.name}"
        for problem in self._owner.iterate(what, self._call("check", path, options), _MOST_PROBLEMS):
            texts = isinstance(problem, Problem) and (problem.file, problem.record, problem.message, problem.value)
            if (
                not texts
                or not all(isinstance(text, str) for text in texts)
                or problem.severity not in ("error", "warning")
            ):
                raise self._garbage("check", problem, "a Problem")
            yield problem

    def _others(self, path: Path) -> list[str]:
        return self._texts("others", self._call("others", path))

    def _committed(self, export: Export) -> list[str]:
        return self._texts("committed", self._call("committed", export))

    def _abandoned(self, export: Export) -> None:
        self._call("abandoned", export)

    def _texts(self, method: str, texts: Any) -> list[str]:
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise self._garbage(method, texts, "a list of texts")
        return list(texts)

    def _call(self, method: str, *args: Any) -> Any:
        return self._owner.call(f"{method} of the format {self.name}", getattr(self._exporter, method), *args)

    def _garbage(self, method: str, value: Any, needed: str) -> BioclipError:
        what = f"{method} of the format {self.name}"
        return self._owner.blamed(what, Garbage(f"{what} returned {shown(value)}; {needed} is needed"))
