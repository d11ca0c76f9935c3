"""The interface of a filter on the content of images: a score per record, which a threshold in the configuration acts on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bioclip_core.errors import UsageError
from bioclip_core.listed_names import did_you_mean
from bioclip_core.models import ModelEntry
from bioclip_core.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_training.catalog.rows import Box


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What a filter is given to make itself ready."""

    files: Mapping[str, Path] = field(default_factory=dict)
    """Files and folders that the user names, by the filter's own words for them. When one changes, the scores are made again."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Options of the filter in the configuration."""
    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    """Registered models by name."""


@dataclass(frozen=True, slots=True)
class FilterRecord:
    """One record that a filter scores."""

    source: str
    uri: str
    """The image within its source: ``FILE``, ``FILE#MEMBER`` or ``FILE#ROW``; empty for a record without a file."""
    path: Path | None
    """The image file; None for a member, a row, and a record without a file."""
    box: Box | None
    """x, y, width, height as fractions of the upright image; None is the whole image."""
    pixels: NDArray[np.uint8] | None
    """The region, decoded as the filter asks for it: size x size x 3 RGB; None if it asks for none."""


class OpenedFilter(Protocol):
    """A filter that is ready."""

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How the images are decoded and resized; None for a filter that reads no pixels."""

    @property
    def batch_size(self) -> int:
        """Number of records that it is given at once, at most."""

    def score(self, records: Sequence[FilterRecord]) -> Sequence[float | None]:
        """Return a score per record, in their order: the higher, the less the record is wanted; None if the filter cannot tell.

        Records whose image cannot be read are not given to a filter that asks for pixels; they have no score. Calls come from
        one thread at a time. The score of a record must not depend on the other records.
        """
        ...


class ContentFilter(Protocol):
    """A filter on the content of images. It writes a column of scores; nothing is deleted."""

    name: str
    """What ``kind:`` of a filter in the configuration says."""
    description: str
    """One line on the filter."""

    def identity(self, options: FilterOptions) -> Mapping[str, Any]:
        """Return everything that decides the scores besides the content of files, as plain JSON; it must be cheap.

        Raises:
            UsageError: for options that it does not know or cannot use, before any work is done.
            SourceError: for files that cannot be used, as far as names and beginnings say; it need not look whether they exist.
        """
        ...

    def open(self, options: FilterOptions) -> OpenedFilter:
        """Make the filter ready: read its files, open its model.

        Raises:
            BioclipError: if it cannot, with what to do.
        """
        ...


def known_names(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Refuse names that a filter does not know.

    Args:
        given: files or options of the configuration.
        known: names that the filter takes.
        what: words for them in the message: "files of the filter support-set".

    Raises:
        UsageError: for the first unknown one.
    """
    for name in given:
        if name not in known:
            raise UsageError(
                f"{what}: {name!r} is not known{did_you_mean(str(name), known)}; known are {', '.join(known)}"
            )
