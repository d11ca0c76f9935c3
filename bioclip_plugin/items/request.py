"""What is asked for: one frozen dataclass whose fields are the command line's options and ``bioclip.toml``'s keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS

DEFAULT_MODEL = "bioclip-2"
_RANKS = (*(rank.value for rank in RANKS), "label", "group")


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """What to classify with, and how. Equal requests share one Session."""

    model: str = DEFAULT_MODEL
    """A registered name, ``hf-hub:ORG/NAME``, ``local-dir:FOLDER``, or a weight file."""
    labels: str | tuple[str, ...] | None = None
    """A label set's folder, a text or CSV file of custom labels, or the labels themselves; None: the model's own."""
    taxa: tuple[str, ...] = ()
    """Answer only with labels under these taxa of any rank; none: with all labels."""
    rank: str = "species"
    """The rank whose best candidates are given; ``label`` or ``group`` for custom labels."""
    top: int = 5
    """How many candidates."""
    threshold: float = 0.65
    """The summed probability that a consensus needs, above 0 and at most 1."""
    rules: tuple[str, ...] = ()
    """Rules that a pass applies to the stored answers, each ``NAME`` or ``NAME:KEY=VALUE,...``; needs a store."""
    store: str | None = None
    """SQLAlchemy address or SQLite path where results are kept; None: nowhere."""
    batch_size: int | None = None
    """Regions encoded at once; None: 16 on a CPU, 128 on a GPU."""
    workers: int | None = None
    """Decoding threads; None: one a core, at most 16."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    precision: str = "auto"
    """``auto``, ``fp32``, ``bf16`` or ``fp16``."""
    exact: bool = False
    """Decode every image fully instead of at a fraction."""

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise UsageError("model is empty: give a name such as bioclip-2 or demo, or local-dir:FOLDER")
        if self.rank not in _RANKS:
            raise UsageError(f"rank {self.rank!r}: allowed are {', '.join(_RANKS)}")
        if not 1 <= self.top <= 1000:
            raise UsageError(f"top {self.top}: allowed are 1 to 1000 candidates")
        if not (math.isfinite(self.threshold) and 0 < self.threshold <= 1):
            raise UsageError(f"threshold {self.threshold}: allowed is a probability above 0 and at most 1")
        for name, value in (("batch_size", self.batch_size), ("workers", self.workers)):
            if value is not None and value < 1:
                raise UsageError(f"{name} {value}: allowed are whole numbers from 1")
        for name in ("taxa", "rules"):
            if isinstance(getattr(self, name), str):
                raise UsageError(f"{name} {getattr(self, name)!r}: give a tuple, such as ({getattr(self, name)!r},)")
        for name in ("labels", "taxa", "rules"):  # lists from TOML and JSON
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, tuple)):
                object.__setattr__(self, name, tuple(value))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ClassifyRequest:
        """A request from names and values, for example of a configuration file.

        Raises:
            UsageError: for a name that is no option.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"unknown option {', '.join(unknown)}; allowed are {', '.join(sorted(known))}")
        return cls(**values)

    def settings(self) -> dict[str, Any]:
        """The request as plain JSON values, without the store's address (it may hold a password)."""
        values = asdict(self)
        del values["store"]
        return values
