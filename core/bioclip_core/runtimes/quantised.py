"""Int8 models in the user's cache, each with what it was made from and how far its features agree."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import ModelError
from bioclip_core.files.documents import read_document
from bioclip_core.files.whole import replacing_folder
from bioclip_core.identity import CACHE_VARIABLE, file_sha256, settings_id, user_cache
from bioclip_core.models import FoundModel
from bioclip_core.nouns import number_of
from bioclip_core.runtimes.library import processor, version_of

FORMAT_VERSION = 1
"""Raise it when the same images would give another int8 model."""
RECORD, MODEL, WEIGHTS = "quantised.json", "model.xml", "model.bin"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Features and answers of an int8 model beside those in fp32, on images that it was not calibrated on."""

    images: int
    cosine_min: float
    cosine_mean: float
    label_set: str = ""
    """Id of the labels of ``top1``; empty without any."""
    top1: Mapping[str, float] = field(default_factory=dict)
    """Share of the images with the same first candidate, by rank."""

    def described(self) -> str:
        """Return it in words: "on 64 images, cosine to fp32 at least 0.991, 0.998 on average; same species for 98.4%"."""
        line = (
            f"on {number_of(self.images, 'image')}, cosine to fp32 at least {_cosine(self.cosine_min)}, "
            f"{_cosine(self.cosine_mean)} on average"
        )
        same = ", ".join(f"{rank} for {share:.1%}" for rank, share in self.top1.items())
        return f"{line}; same {same}" if same else line


@dataclass(frozen=True, slots=True)
class Quantised:
    """An int8 model in the cache."""

    format_version: int
    weights_sha256: str
    preprocessing: Mapping[str, Any]
    openvino: str
    nncf: str
    sha256: str
    """Of the model's two files; part of the identity of its features."""
    calibrated_on: int
    """Number of images of the calibration."""
    made: str
    """Date."""
    agreement: Agreement | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    """Images per second of ``int8`` and of ``other``, the fastest way without it, on the machine that made it."""
    processor: str = ""
    """Processor of that machine; empty if an earlier version made it."""

    config: str = ""
    """Id of the model's config, which can change what the same weights compute; empty if an earlier version made it."""

    @property
    def rates_here(self) -> bool:
        """True if the rates are of a processor such as this one: a model in a copied cache may be of another."""
        return bool(self.rates) and self.processor in ("", processor())

    def described(self) -> str:
        """Return one line for users."""
        line = f"int8 model calibrated on {number_of(self.calibrated_on, 'image')} on {self.made}"
        return f"{line}: {self.agreement.described()}" if self.agreement else line


def quantised_folder(found: FoundModel) -> Path:
    """Return the folder of a model's int8 model in the user's cache, made or not."""
    preprocessing = settings_id(found.preprocessing.identity())
    return user_cache() / "quantised" / f"{found.weights_sha256[:32]}-{preprocessing[:16]}"


def find_quantised(found: FoundModel) -> tuple[Quantised | None, str]:
    """Return a model's int8 model, or None and the reason why there is none that can be used; empty if none was made.

    Neither OpenVINO nor torch is imported.
    """
    folder = quantised_folder(found)
    if not (folder / RECORD).exists():
        return None, ""
    try:
        kept = read_document(folder / RECORD, Quantised, name="quantised.json", error=ModelError)
    except ModelError as error:
        return None, f"its record is damaged ({error})"
    if reason := _difference(kept, found):
        return None, reason
    try:
        is_whole = _sha256_of(folder) == kept.sha256
    except OSError as error:
        return None, f"its files cannot be read ({error.strerror or error})"
    return (kept, "") if is_whole else (None, "its files are not those that were made")


def quantised_file(found: FoundModel, sha256: str) -> Path:
    """Return the file of an int8 model, for OpenVINO to read.

    Raises:
        ModelError: if the cache has another one by now, or none.
    """
    kept, reason = find_quantised(found)
    if kept is None or kept.sha256 != sha256:
        raise ModelError(
            f"model {found.name!r}: the int8 model that the features of this run belong to is not in {user_cache()} any more"
            f"{f': {reason}' if reason else ''}; start again, which makes a new one"
        )
    return quantised_folder(found) / MODEL


def quantised_provenance(found: FoundModel, sha256: str) -> dict[str, Any]:
    """Return the origin and the agreement of an int8 model, for the provenance of its features."""
    kept, _ = find_quantised(found)
    if kept is None or kept.sha256 != sha256:
        return {"sha256": sha256}
    agreement = {} if kept.agreement is None else {"agreement": asdict(kept.agreement)}
    return {"sha256": sha256, "made": kept.made, "calibrated_on": kept.calibrated_on, "nncf": kept.nncf, **agreement}


def check_cache() -> None:
    """Refuse a cache that cannot be written, before the minutes that it takes to make an int8 model.

    Raises:
        ModelError: with the reason and what to do.
    """
    room = user_cache() / "quantised"
    try:
        room.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=room):
            pass
    except OSError as error:
        raise ModelError(
            f"the cache {user_cache()}, which is to keep its model, cannot be written ({error.strerror or error}): set {CACHE_VARIABLE} "
            "to a folder of your own"
        ) from error


@contextmanager
def keeping_quantised(found: FoundModel) -> Iterator[Path]:
    """Give an empty folder for the files of a new int8 model; it replaces an earlier one when the block ends well."""
    folder = quantised_folder(found)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as draft:
        yield draft


def record_of(found: FoundModel, folder: Path, calibrated_on: int, made: str) -> Quantised:
    """Return the record of the files in a folder, made with the present versions."""
    return Quantised(
        format_version=FORMAT_VERSION,
        weights_sha256=found.weights_sha256,
        preprocessing=found.preprocessing.identity(),
        openvino=version_of("openvino"),
        nncf=version_of("nncf"),
        sha256=_sha256_of(folder),
        calibrated_on=calibrated_on,
        made=made,
        processor=processor(),
        config=found.config_id(),
    )


def write_record(folder: Path, record: Quantised) -> None:
    """Write the record beside the files."""
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", "utf-8")


def _difference(kept: Quantised, found: FoundModel) -> str:
    """Return what an int8 model was made of and is not so now; empty if all is the same.

    Other versions of OpenVINO and NNCF quantise otherwise, and OpenVINO need not read each other's files.
    """
    if kept.format_version != FORMAT_VERSION:
        return f"it has format {kept.format_version}, this version uses {FORMAT_VERSION}"
    if kept.weights_sha256 != found.weights_sha256:
        return f"it was made from another checkpoint (weights {kept.weights_sha256[:12]}, here {found.weights_sha256[:12]})"
    if dict(kept.preprocessing) != found.preprocessing.identity():
        return "it was made with another preprocessing"
    if kept.config not in ("", found.config_id()):
        return "it was made with another config of the model"
    for package, before in (("openvino", kept.openvino), ("nncf", kept.nncf)):
        now = version_of(package)
        if before != now and (now or package == "openvino"):  # NNCF is needed for making one only
            return f"it was made with {package} {before}, here is {now or 'none'}"
    return ""


def _sha256_of(folder: Path) -> str:
    return settings_id({name: file_sha256(folder / name) for name in (MODEL, WEIGHTS)})


def _cosine(value: float) -> str:
    """Return a cosine near 1 with the digits that tell."""
    return f"{value:.4f}" if value < 0.9999 else f"{value:.6f}"
