"""Making an int8 model from images: NNCF's post-training quantisation with SmoothQuant, in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.acceleration.measuring import MOST_IMAGES as BATCH
from bioclip_core.acceleration.measuring import rates_of
from bioclip_core.device import Compute, Precision
from bioclip_core.encoder import Encoder
from bioclip_core.errors import one_line
from bioclip_core.models import FoundModel
from bioclip_core.open_clip_encoder import OpenClipEncoder
from bioclip_core.process import system
from bioclip_core.runtimes.openvino_tower import (
    OpenVinoTower,
    OpenVinoUnusable,
    converted_tower,
    read_tower,
    save_model,
)
from bioclip_core.runtimes.quantised import (
    MODEL,
    WEIGHTS,
    Agreement,
    Quantised,
    find_quantised,
    keeping_quantised,
    record_of,
    write_record,
)

Answers = Callable[[Encoder, NDArray[np.float16]], Mapping[str, Sequence[str]]]
"""First candidates of B features, by rank (B names each); the encoder is for captions."""

LEAST_IMAGES = 16
"""Images below which neither the ranges of activations nor an agreement can be told: half are for each."""
MOST_IMAGES = 128
"""Images of a calibration and its agreement; further ones hardly move the ranges, and take time."""
LEAST_COSINE = 0.9
"""Mean cosine to fp32 below which an int8 model is refused: its features are not those of the checkpoint."""
_CHILD = "bioclip_core.acceleration.quantising_child"
_WITHOUT_STATISTICS = {"NNCF_CI": "1", "CI": "true"}
"""Variables that switch off the telemetry of NNCF and OpenVINO, in the begun process only."""
_LAST_WORDS = 300


def quantise(
    found: FoundModel,
    images_NHWC: NDArray[np.uint8],
    precision: Precision,
    *,
    answers: Answers | None = None,
    label_set: str = "",
) -> Quantised:
    """Make the int8 model of a checkpoint, put it into the cache in place of one that cannot be used, and return its record.

    Args:
        found: the model.
        images_NHWC: N preprocessed images of the user; every other one calibrates, the others tell the agreement.
        precision: ``fp32`` or ``bf16``: the precision without int8, whose rate is measured beside it.
        answers: gives the first candidates of features, for the agreement; None without labels.
        label_set: id of the labels.

    Raises:
        OpenVinoUnusable: if it cannot be made, or gives features that are not those of the checkpoint.
    """
    calibrating, judging = images_NHWC[::2], images_NHWC[1::2]
    encoder = OpenClipEncoder(found, Compute("cpu", "fp32", "reference"))
    # On Windows a file that OpenVINO has mapped cannot be removed; the system does that later.
    with tempfile.TemporaryDirectory(prefix="bioclip-int8-", ignore_cleanup_errors=True) as place:
        plain, made = Path(place) / "plain", Path(place) / "made"
        plain.mkdir()
        made.mkdir()
        exact = converted_tower(
            encoder.model, found.preprocessing, "fp32", lambda converted, _: save_model(converted, plain / MODEL)
        )
        np.save(plain / "images.npy", calibrating)
        _in_a_process(plain / MODEL, plain / "images.npy", made / MODEL)
        tower = read_tower(made / MODEL, "fp32")
        agreement = _agreement(encoder, _features(exact, judging), _features(tower, judging), answers, label_set)
        if not agreement.cosine_mean >= LEAST_COSINE:
            raise OpenVinoUnusable(
                f"the int8 model gives other features than the checkpoint: {agreement.described()}; a mean of {LEAST_COSINE} "
                "is needed"
            )
        if (kept := find_quantised(found)[0]) is not None:
            return kept  # of another program that was quicker: runs that began with it need it
        rates = rates_of({"int8": tower, "other": read_tower(plain / MODEL, precision)}, found.preprocessing.size)
        with keeping_quantised(found) as folder:
            for name in (MODEL, WEIGHTS):
                shutil.copyfile(made / name, folder / name)
            record = record_of(found, folder, len(calibrating), datetime.now(UTC).date().isoformat())
            record = replace(record, agreement=agreement, rates={name: round(rate, 2) for name, rate in rates.items()})
            write_record(folder, record)
    return record


def _features(tower: OpenVinoTower, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Return N×D features, computed in batches."""
    starts = range(0, len(images_NHWC), BATCH)
    return np.concatenate([tower(images_NHWC[start : start + BATCH]) for start in starts]).astype(np.float16)


def _agreement(
    encoder: Encoder,
    exact_BD: NDArray[np.float16],
    int8_BD: NDArray[np.float16],
    answers: Answers | None,
    label_set: str,
) -> Agreement:
    one, other = (features.astype(np.float64) for features in (exact_BD, int8_BD))
    cosines = (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    least, mean = round(float(cosines.min()), 6), round(float(cosines.mean()), 6)
    if answers is None:
        return Agreement(len(cosines), least, mean)
    expected, got = answers(encoder, exact_BD), answers(encoder, int8_BD)
    same = {
        rank: round(float(np.mean([mine == theirs for mine, theirs in zip(names, got[rank], strict=True)])), 4)
        for rank, names in expected.items()
    }
    return Agreement(len(cosines), least, mean, label_set, same)


def _in_a_process(model: Path, images: Path, output: Path) -> None:
    """Quantise a model file in a process of its own.

    NNCF replaces functions of torch when it is imported, has log handlers and progress bars, and needs gigabytes; none of
    this is to happen in a host's process, and one that the system ends for lack of memory is an error here.

    Raises:
        OpenVinoUnusable: if it fails.
    """
    command = [sys.executable, "-P", "-m", _CHILD, str(model), str(images), str(output)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **_WITHOUT_STATISTICS, "PYTHONPATH": path},
        start_new_session=not system.is_windows(),  # Ctrl-C reaches us alone, and we end it
    )
    try:
        _, words = process.communicate()
    finally:
        if process.poll() is None:
            with suppress(OSError):
                process.kill()
            process.wait()
    check_ended(process.returncode if process.returncode or output.exists() else 1, words)


def check_ended(code: int, words: bytes) -> None:
    """Raise an error with the last line that a process wrote, if it did not end well.

    Raises:
        OpenVinoUnusable: for any code but 0.
    """
    if code:
        lines = [line for line in words.decode("utf-8", "replace").splitlines() if line.strip()]
        raise OpenVinoUnusable(
            f"NNCF could not make the int8 model (its process ended with {code}): "
            f"{one_line(lines[-1] if lines else 'no message')[-_LAST_WORDS:]}"
        )
