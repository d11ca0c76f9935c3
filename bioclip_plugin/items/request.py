"""The request of a classification: its fields are the command line's options and the keys of ``bioclip.toml``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bioclip_core.device import INT8, PRECISIONS, RUNTIMES
from bioclip_core.errors import UsageError
from bioclip_core.options import check_options
from bioclip_core.taxonomy import RANKS

DEFAULT_MODEL = "bioclip-2"
DETECTION_THRESHOLD = 0.2
"""Default of the confidence from which a detector's box is classified."""
DETECTION = "detection"
"""Key in the settings of a run's decisions: its detector (``detector_id``, ``detector``) and ``threshold``."""
_RANKS = (*(rank.value for rank in RANKS), "label", "group")


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """Model, labels and settings of a classification. Equal requests share one Session."""

    model: str = DEFAULT_MODEL
    """A name that `models list` shows, hf-hub:ORG/NAME, local-dir:FOLDER, or a weight file."""
    labels: str | tuple[str, ...] | None = field(default=None, metadata={"automatic": "the model's own"})
    """Folder of a label set, or a .txt or .csv file of custom labels.

    From Python also the custom labels themselves.
    """
    taxa: tuple[str, ...] = ()
    """Answer only with labels under this taxon, of any rank."""
    rank: str = field(default="species", metadata={"choices": _RANKS})
    """Rank of the candidates; label or group for custom labels."""
    top: int = field(default=5, metadata={"low": 1, "high": 1000})
    """Number of candidates to keep."""
    threshold: float = field(default=0.65, metadata={"above": 0, "high": 1})
    """Summed probability that a consensus needs."""
    rules: tuple[str, ...] = field(default=(), metadata={"flag": "--rule"})
    """Rule for stored answers, NAME or NAME:KEY=VALUE,...; `rules list` shows them.

    Rules need a store.
    """
    detector: str | None = field(default=None, metadata={"automatic": "none"})
    """Detector for images without boxes of their own, NAME or NAME:WEIGHTS: its boxes are classified instead of the whole image.

    `plugins` shows the names that there are.
    """
    detection_threshold: float = field(default=DETECTION_THRESHOLD, metadata={"low": 0, "high": 1})
    """Confidence from which a detector's box is classified; boxes below it are kept without a name."""
    store: str | None = None
    """Result store: a path (SQLite) or a SQLAlchemy address such as postgresql+psycopg://USER@HOST/DATABASE.

    None: results are not kept.
    """
    batch_size: int | None = field(
        default=None, metadata={"low": 1, "high": 65_536, "automatic": "found on the first batches"}
    )
    """Regions encoded at once."""
    workers: int | None = field(
        default=None, metadata={"low": 1, "high": 1024, "automatic": "one per core, at most 16"}
    )
    """Number of decoding threads."""
    item_timeout: float = field(default=120.0, metadata={"above": 0})
    """Seconds of decoding after which an item is given up and reported as a failure."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:N or mps."""
    precision: str = field(default="auto", metadata={"choices": ("auto", *PRECISIONS, INT8)})
    """Precision of the image tower; auto is BIOCLIP_PRECISION, else bf16 where the device multiplies it natively, else fp32.

    int8 needs OpenVINO and a processor with VNNI; its model is calibrated on the first images. A resumed run keeps the
    precision that it recorded.
    """
    runtime: str = field(default="auto", metadata={"choices": ("auto", *RUNTIMES)})
    """Program that runs the image tower on a CPU; auto is BIOCLIP_RUNTIME, else the faster one, measured once per machine.

    A resumed run keeps the runtime that it recorded.
    """
    exact: bool = False
    """Decode every image fully instead of at a fraction (slower)."""

    def __post_init__(self) -> None:
        for name in ("taxa", "rules"):
            if isinstance(getattr(self, name), str):
                raise UsageError(f"{name} {getattr(self, name)!r}: give a tuple, such as ({getattr(self, name)!r},)")
        for name in ("labels", "taxa", "rules"):  # lists from TOML and JSON
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, tuple)):
                object.__setattr__(self, name, tuple(value) if isinstance(value, Iterable) else value)
        check_options(self)
        if self.precision == INT8 and self.runtime == "torch":
            raise UsageError("precision int8 is run by OpenVINO alone, and runtime is torch; leave out one of them")
        if not self.model.strip():
            raise UsageError("model is empty: give a name such as bioclip-2 or demo, or local-dir:FOLDER")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ClassifyRequest:
        """Return a request from names and values, for example of a configuration file.

        Raises:
            UsageError: for a name that is not an option.
        """
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"unknown option {', '.join(unknown)}; allowed are {', '.join(sorted(known))}")
        return cls(**values)

    def settings(self) -> dict[str, Any]:
        """Return the request as plain JSON values, without the store's address (it may hold a password)."""
        values = asdict(self)
        del values["store"]
        return values
