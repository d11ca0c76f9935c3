"""Our side of the benchmarks: the model, label sets and files of a round, prepared through the public interfaces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import fixtures, taxa
from bioclip_core.acceleration.runtime_choice import choose_runtime, why_not_int8, why_not_openvino
from bioclip_core.device import Compute, choose_compute
from bioclip_core.encoder import Encoder
from bioclip_core.labels.building import import_label_set
from bioclip_core.models import FoundModel, find_model
from bioclip_core.open_clip_encoder import open_encoder

if TYPE_CHECKING:
    from bioclip_core.classify import Classifier
    from bioclip_core.preprocessing import Preprocessing

_round = itertools.count()
CALIBRATED_ON = 32


def model_name() -> str:
    return f"local-dir:{fixtures.model_folder()}"


def found_model(*, exact: bool = False) -> FoundModel:
    return find_model(model_name(), {}, exact=exact)


def preprocessing(*, exact: bool = False) -> Preprocessing:
    return found_model(exact=exact).preprocessing


@cache
def encoder() -> Encoder:
    """Open the model on the default device, in the default precision."""
    return open_encoder(found_model(), choose_compute())


@cache
def default_encoder() -> tuple[Compute, Encoder]:
    """Open the model as a run does by default: on the faster runtime of this machine, in the default precision."""
    compute, encoder = choose_runtime(found_model(), choose_compute())
    return compute, encoder or open_encoder(found_model(), compute)


@cache
def text_encoder() -> Encoder:
    """Open the model as ``labels build`` does by default."""
    compute = choose_compute()
    return open_encoder(found_model(), replace(compute, text_precision=compute.precision))


@cache
def int8_encoder() -> Encoder:
    """Open the int8 model, calibrated on the benchmark's photos if the cache has none."""
    from bioclip_plugin import Session

    with Session(model=model_name(), labels=("a leaf", "a fish"), precision="int8", device="cpu") as session:
        session.calibrate(list(map(str, fixtures.small_photos(CALIBRATED_ON))))
        assert session.engine.precision == "int8"
        return session.engine.encoder


def why_not(runtime: str, precision: str) -> str:
    """Return the reason why this machine cannot encode so; empty if it can."""
    if precision == "int8":
        return why_not_int8(found_model(), choose_compute().device)
    return why_not_openvino(found_model(), choose_compute().device, precision) if runtime == "openvino" else ""


def label_set(files: Path) -> Path:
    """Import a label folder in TreeOfLife's shape as a label set, once."""
    folder = files.with_name(files.name + "-set")
    if not (folder / "label_set.json").exists():
        import_label_set(files / taxa.NPY, files / taxa.JSON, encoder(), folder)
    return folder


def classifier(files: Path) -> Classifier:
    from bioclip_core.classify import Classifier
    from bioclip_core.labels.label_set import LabelSet

    return Classifier(LabelSet.open(label_set(files)), choose_compute().device)


def fresh_copies(paths: Sequence[Path], under: Path) -> list[Path]:
    """Copy the photos to new files whose content differs: a few bytes follow the picture.

    Our store skips finished files and reuses the features of equal files, and a benchmark must not gain from that.
    """
    number = next(_round)
    folder = under / f"round_{number:03d}"
    folder.mkdir(parents=True)
    copies = []
    for path in paths:
        copy = folder / path.name
        copy.write_bytes(path.read_bytes() + number.to_bytes(8, "little"))
        copies.append(copy)
    return copies
