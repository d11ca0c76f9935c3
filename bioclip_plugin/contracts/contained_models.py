"""Models of plugins: an entry whose encoder is behind a stand-in that checks features and names the plugin in its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError
from bioclip_core.models import ModelEntry, PublishedLabels
from bioclip_core.preprocessing import preprocessing_of
from bioclip_plugin.contracts.checking import checked_features, checked_name, faults_of_rows, is_number
from bioclip_plugin.contracts.containing import Garbage, Owner, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.device import Compute
    from bioclip_core.encoder import Encoder
    from bioclip_core.preprocessing import Preprocessing


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
    size = entry.preprocessing.get("size", 224)
    preprocessing_of(int(size[0] if isinstance(size, (list, tuple)) else size), registry=entry.preprocessing)
    if entry.labels is not None and not isinstance(entry.labels, PublishedLabels):
        raise Garbage(f"the model {name} has the labels {shown(entry.labels)}; PublishedLabels are needed")
    if entry.revision is not None and not isinstance(entry.revision, str):
        raise Garbage(f"the model {name} has the revision {shown(entry.revision)}; a text is needed")
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
        from bioclip_core.labels.manifest import check_scale

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
        try:
            check_scale(self.logit_scale, self.logit_bias)
        except ValueError as error:
            raise Garbage(f"the encoder of {entry.name} has the {error}") from None
        if not isinstance(self.identity, Mapping) or not isinstance(self.identity.get("weights_sha256"), str):
            raise Garbage(
                f"the encoder of {entry.name} has the identity {shown(self.identity)}, without weights_sha256"
            )

    @property
    def best_batch(self) -> int | None:
        """Number of images at once that the plugin's encoder states; None without one."""
        return self._stated("best_batch")

    @property
    def calls_at_once(self) -> int:
        """Number of threads that the plugin's encoder states; 1 without one."""
        return self._stated("calls_at_once") or 1

    def _stated(self, name: str) -> int | None:
        what = f"{name} of {self._name}"
        number = self._owner.call(what, getattr, self._encoder, name, None)
        if number is None or (isinstance(number, int) and not isinstance(number, bool) and number >= 1):
            return number
        raise self._owner.blamed(what, Garbage(f"{what} is {shown(number)}; a whole number from 1 is needed"))

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


def encode_each(encoder: Encoder, images_BHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float16], dict[int, str]]:
    """Return B×D features and the faults of rows that cannot be used; if a plugin's encoder fails, all rows have its fault.

    An error of our own encoder is raised: it is not the images' fault. So is one of memory: fewer images may fit.
    """
    import numpy as np

    from bioclip_core.process.memory_errors import is_out_of_memory

    if not isinstance(encoder, ContainedEncoder):
        features_BD = encoder.encode_images(images_BHWC)
        return features_BD, faults_of_rows(features_BD)
    try:
        return encoder.encode_each(images_BHWC)
    except BioclipError as error:
        if is_out_of_memory(error):
            raise
        count = len(images_BHWC)
        return np.zeros((count, encoder.dimension), np.float16), dict.fromkeys(range(count), str(error))
