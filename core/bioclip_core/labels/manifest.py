"""The manifest of a label set: what its files hold, for which model, and on which scales."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bioclip_core.errors import LabelSetError
from bioclip_core.files.documents import convert_document, read_document
from bioclip_core.files.near_names import near_hint
from bioclip_core.identity import settings_id
from bioclip_core.next_commands import command

MANIFEST, TAXA, EMBEDDINGS = "label_set.json", "taxa.parquet", "embeddings.npy"
FORMAT_VERSION = 1
JOINED_VERSION = 2
"""Format of a manifest whose blocks are ``[start, stop, place in "kinds"]``; ``kinds`` holds each scale once."""
PROBE_VERSION = 3
"""Format of a manifest with one block of the kind ``probe``; ``rows`` holds a factor and a bias for each row."""

SCALES_ALLOWED = (1e-3, 1e4)
"""Smallest and largest scale. CLIP models have up to 100; logits of larger ones lose the precision of fp32."""
_LARGEST_BIAS = 1e4
_LARGEST_MEAN = 1.01
"""Norm of a mean of L2-normalised features, with room for rounding."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SEAL = "manifest_sha256"
_REMEDY = "build or import it again"


def is_sha256(text: str) -> bool:
    """True for 64 hexadecimal digits."""
    return _SHA256.fullmatch(text) is not None


def check_scale(scale: float, bias: float = 0.0) -> None:
    """Refuse a scale or bias that no model has.

    Raises:
        ValueError: if it is not a number, or outside the range in which logits can be calculated.
    """
    low, high = SCALES_ALLOWED
    if not low <= scale <= high:
        raise ValueError(f"scale {scale!r}: a number from {low:g} to {high:g} is needed")
    if not abs(bias) <= _LARGEST_BIAS:
        raise ValueError(f"bias {bias!r}: a number from {-_LARGEST_BIAS:g} to {_LARGEST_BIAS:g} is needed")


def _check_mean(mean: Sequence[float] | None) -> None:
    norm = math.sqrt(math.fsum(value * value for value in mean or ()))
    if not norm <= _LARGEST_MEAN:
        raise ValueError(f"feature_mean has the length {norm:.3g}, but a mean of normalised features has at most 1")


@dataclass(frozen=True, slots=True)
class RowScales:
    """The rest of a probe's N rows: logit = scale of the block * factor * cosine + bias."""

    factor: tuple[float, ...]
    """Length of a row's weights, as a share of the longest one's."""
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        wrong = [value for value in self.factor if not 0 <= value <= 1]
        if wrong:
            raise ValueError(f"rows have the factor {wrong[0]!r}: a number from 0 to 1 is needed")
        wrong = [value for value in self.bias if not abs(value) <= _LARGEST_BIAS]
        if wrong:
            raise ValueError(
                f"rows have the bias {wrong[0]!r}: a number from {-_LARGEST_BIAS:g} to {_LARGEST_BIAS:g} is needed"
            )


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows whose similarities are on one scale: logit = scale * cosine + bias."""

    start: int
    stop: int
    kind: Literal["text", "prototype", "probe"]
    scale: float
    bias: float = 0.0
    feature_mean: tuple[float, ...] | None = None
    """D numbers to subtract from a feature before the cosine, with another L2 normalisation; for prototypes and probes."""

    def __post_init__(self) -> None:
        check_scale(self.scale, self.bias)
        _check_mean(self.feature_mean)


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of several blocks of a joined label set, as :class:`Block` has it."""

    kind: Literal["text", "prototype"]
    scale: float
    bias: float = 0.0
    feature_mean: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_scale(self.scale, self.bias)
        _check_mean(self.feature_mean)


@dataclass(frozen=True, slots=True)
class MadeFor:
    """The model that the embeddings were made with."""

    weights_sha256: str
    source: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The members of every manifest that are read."""

    count: int
    """Number of labels, N."""
    dimension: int
    """Length of an embedding, D."""
    encoder: MadeFor
    id: str
    masked: list[int] = field(default_factory=list)
    """Rows that are never an answer."""
    masked_by: dict[str, int] = field(default_factory=dict)
    """Number of masked rows by reason."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of the files, by name; a manifest of another program may lack it."""
    custom: bool = False
    captions: str | None = None
    recipe: str | None = None
    made_at: str | None = None

    def __post_init__(self) -> None:
        for name, number in (("count", self.count), ("dimension", self.dimension)):
            if number < 1:
                raise ValueError(f"{name} {number}: a number above 0 is needed")
        outside = [row for row in self.masked if not 0 <= row < self.count]
        if outside:
            raise ValueError(f"masked has the row {outside[0]}, but the label set has the rows 0 to {self.count - 1}")
        if len(set(self.masked)) >= self.count:
            raise ValueError("masked has every row, so that nothing could be an answer")
        if self.masked_by and sum(self.masked_by.values()) != len(self.masked):
            raise ValueError(f"masked has {len(self.masked)} rows, but masked_by {sum(self.masked_by.values())}")
        for file, digest in self.sha256.items():
            if not is_sha256(digest):
                raise ValueError(f"sha256 of {file} is {digest[:80]!r}, not 64 hexadecimal digits")
        if self.custom:
            raise ValueError("custom is true, but labels of the user's own words are never kept in a folder")

    @property
    def unverified(self) -> list[str]:
        """The files whose bytes cannot be compared, since the manifest does not have their sha256."""
        return [name for name in (EMBEDDINGS, TAXA) if name not in self.sha256]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainManifest(Manifest):
    """A manifest of format 1, with full blocks."""

    blocks: list[Block]

    def __post_init__(self) -> None:
        super(PlainManifest, self).__post_init__()
        if any(block.kind == "probe" for block in self.blocks):
            raise ValueError(f"blocks have the kind probe, which format {PROBE_VERSION} has")
        _check_places([(block.start, block.stop) for block in self.blocks], self.count)
        _check_means(self.blocks, self.dimension)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeManifest(Manifest):
    """A manifest of format 3: one block with a factor and a bias for each of its rows."""

    blocks: list[Block]
    rows: RowScales

    def __post_init__(self) -> None:
        super(ProbeManifest, self).__post_init__()
        if [block.kind for block in self.blocks] != ["probe"]:
            raise ValueError("blocks must be a single one of the kind probe")
        _check_places([(block.start, block.stop) for block in self.blocks], self.count)
        _check_means(self.blocks, self.dimension)
        for name, values in (("factors", self.rows.factor), ("biases", self.rows.bias)):
            if len(values) != self.count:
                raise ValueError(f"rows have {len(values)} {name} for {self.count} labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedManifest(Manifest):
    """A manifest of format 2, with each scale once."""

    blocks: list[tuple[int, int, int]]
    kinds: list[Scale]

    def __post_init__(self) -> None:
        super(JoinedManifest, self).__post_init__()
        _check_places([(start, stop) for start, stop, _ in self.blocks], self.count)
        _check_means(self.kinds, self.dimension)
        unknown = [kind for _, _, kind in self.blocks if not 0 <= kind < len(self.kinds)]
        if unknown:
            raise ValueError(f"blocks have the kind {unknown[0]}, but there are the kinds 0 to {len(self.kinds) - 1}")


_TYPES: Mapping[Any, type[Manifest]] = {
    FORMAT_VERSION: PlainManifest, JOINED_VERSION: JoinedManifest, PROBE_VERSION: ProbeManifest
}  # fmt: skip


def _check_places(places: Sequence[tuple[int, int]], count: int) -> None:
    """Refuse blocks that do not cover all rows in order."""
    end = 0
    for start, stop in places:
        if start != end:
            raise ValueError(f"blocks have one from row {start} that does not start at {end}")
        if stop <= start:
            raise ValueError(f"blocks have one from row {start} to row {stop}, which is empty")
        end = stop
    if end != count:
        raise ValueError(f"it has blocks of {end} rows for {count} labels")


def _check_means(scales: Sequence[Block | Scale], dimension: int) -> None:
    for scale in scales:
        if scale.feature_mean is not None and len(scale.feature_mean) != dimension:
            raise ValueError(f"a feature mean does not have {dimension} numbers but {len(scale.feature_mean)}")


def read_manifest(folder: Path) -> tuple[dict[str, Any], Manifest]:
    """Return the manifest in a label set's folder, as it is written and checked.

    Raises:
        LabelSetError: if the folder does not exist, is unfinished, or its manifest is damaged or of another version.
    """
    if not folder.is_dir():
        raise LabelSetError(
            f"label set {folder}: no such folder{near_hint(folder)}; make one with: "
            f"{command('labels build', 'TABLE', model='MODEL', output=folder)}"
        )
    path = folder / MANIFEST
    if not path.exists():
        is_draft = (folder / "build.json").is_file()
        raise LabelSetError(
            f"label set {folder} was not finished; run the same labels build again, which resumes it"
            if is_draft
            else f"label set {folder} has no {MANIFEST}: give the folder of a label set, or make one with: "
            f"{command('labels build', 'TABLE', model='MODEL', output='FOLDER')}"
        )
    if not path.is_file():  # opening a pipe would wait for its writer
        raise LabelSetError(f"label set {folder} is damaged: {MANIFEST} is not a file; {_REMEDY}")
    try:
        written = read_document(path, dict[str, Any], name="label set", error=LabelSetError)
    except LabelSetError as error:
        raise LabelSetError(f"{error}; {_REMEDY}") from None
    return written, checked_manifest(written, folder)


def checked_manifest(written: Mapping[str, Any], folder: Path) -> Manifest:
    """Return a manifest as its type, for readers and for the writer.

    Raises:
        LabelSetError: if it is damaged or of another version.
    """
    version = written.get("format_version")
    if isinstance(version, bool) or version not in _TYPES:
        raise LabelSetError(
            f"label set {folder} has format {repr(version)[:80]}; this version reads {FORMAT_VERSION} to {PROBE_VERSION}: "
            "upgrade, or build it again"
        )
    try:
        manifest = convert_document(
            written, _TYPES[version], name=f"label set {folder} is damaged: {MANIFEST}", error=LabelSetError
        )
    except LabelSetError as error:
        raise LabelSetError(f"{error}; {_REMEDY}") from None
    if is_sealed(written) and written[_SEAL] != seal_of(written):
        raise LabelSetError(
            f"label set {folder} is damaged: {MANIFEST} was changed after it was written ({_SEAL} does not fit); {_REMEDY}"
        )
    if not manifest.unverified and manifest.id != id_of(written):
        raise LabelSetError(
            f"label set {folder} is damaged: the id in {MANIFEST} does not fit the sha256 of its files and the model that "
            f"it names; {_REMEDY}"
        )
    return manifest


def is_sealed(written: Mapping[str, Any]) -> bool:
    """True if a manifest has the hash of its own content; those of earlier versions and of other programs lack it."""
    return _SEAL in written


def check_made_for(made_for: MadeFor, identity: Mapping[str, str], folder: Path | None) -> None:
    """Refuse a model that a label set was not made for.

    Raises:
        LabelSetError: with both models.
    """
    if made_for.weights_sha256 != identity["weights_sha256"]:
        raise LabelSetError(
            f"label set {folder or '(in memory)'} was made for {made_for.source} (weights {made_for.weights_sha256[:12]}), "
            f"not for {identity['source']} (weights {identity['weights_sha256'][:12]}); make one with: "
            f"{command('labels build', 'TABLE', model=identity['source'], output='FOLDER')}"
        )


def sealed(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with the sha256 of its own members, so that a change of a scale or of the mask is found."""
    return {**written, _SEAL: seal_of(written)}


def seal_of(written: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of a manifest's members, without the moment of writing: the same labels are the same manifest."""
    return settings_id({name: value for name, value in written.items() if name not in (_SEAL, "made_at")})


def id_of(written: Mapping[str, Any]) -> str:
    """Return the id of a label set: of its files, its model and, with several scales or a probe, these."""
    kinds = {"kinds": written["kinds"]} if "kinds" in written else {}  # as in versions that knew one scale only
    if "rows" in written:
        kinds = {"blocks": written["blocks"], "rows": written["rows"]}
    digests = {name: written["sha256"][name] for name in (TAXA, EMBEDDINGS)}
    return settings_id({"sha256": digests, "encoder": written["encoder"]["weights_sha256"], **kinds})
