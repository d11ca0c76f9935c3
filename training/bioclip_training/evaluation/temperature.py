"""Temperature of a model with a label set, fitted by likelihood on images that the model was not trained on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.calibration import (
    CALIBRATION,
    Calibration,
    check_calibration_output,
    keep_calibration,
    why_not_beside,
)
from bioclip_core.classify import Classifier
from bioclip_core.device import choose_compute
from bioclip_core.errors import DataError
from bioclip_core.files.homes import with_home
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.progress import silent
from bioclip_training.catalog.enough_dev import enough_dev
from bioclip_training.catalog.rows import Catalog, hashed_share
from bioclip_training.catalog.trained_models import dev_fraction_of
from bioclip_training.evaluation.config import CalibrateConfig
from bioclip_training.evaluation.features import Failed, FeatureBook, StageProgress, say_first
from bioclip_training.evaluation.questions import query_rows
from bioclip_training.evaluation.scores import mean_nll, reliability
from bioclip_training.evaluation.truth import EXACT, padded, truths_of
from bioclip_training.evidence.minima import FEWEST_TO_CHOOSE, Evidence, counted
from bioclip_training.shards.collection import open_collection

if TYPE_CHECKING:
    import torch

TEMPERATURES = np.geomspace(0.1, 10.0, 61)
"""Temperatures that are tried, 8% apart; between them the likelihood is so smooth that a parabola finds its top to a thousandth."""

FOLDS = 5
_PASS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Sureness:
    """Fit of probabilities, over the same images."""

    nll: float
    """Mean negative natural logarithm of the truth's probability."""
    ece: float
    """Expected calibration error of the best answer."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A temperature and its effect."""

    temperature: float
    images: int
    groups: int
    left_out: int
    """Images that could not be read, or are of a taxon that the label set lacks."""
    top1: float
    before: Sureness
    after: Sureness
    """On the images that it was fitted on."""
    cross_validated: Sureness | None
    """Each fifth of the groups with the temperature of the other four, as to expect of new images; None for a single group."""
    file: Path
    """File that keeps it."""
    place: str
    """The reason for this file, and how it is used, for users."""
    failures: list[Failed]
    """Images that could not be used, by reason; they are among ``left_out``."""


def calibrate(
    config: CalibrateConfig, entries: Mapping[str, ModelEntry] | None = None, progress: StageProgress = silent
) -> Fitted:
    """Fit one temperature for a model and a label set (Guo et al. 2017) and keep it for the main job.

    Raises:
        DataError: for a part that must not be fitted on, or that has too few images.
        LabelSetError: if the label set is another model's.
        BioclipError: if the temperature cannot be kept.
    """
    found = find_model(config.model, entries or {})
    output = with_home(config.output) if config.output is not None else None
    if output is not None:
        check_calibration_output(found, output)
    catalog = open_collection(
        config.data, dev_fraction=dev_fraction_of(found.folder), replace_prefix=config.replace_prefix, by_taxa=True
    )
    rows = query_rows(catalog, [config.split])
    say_first(catalog, rows, config.replace_prefix)
    labels = LabelSet.open(config.labels)
    labels.check_encoder(found.identity())
    right_CK = own_rows(catalog, labels)
    named = rows[right_CK[catalog.taxon_of_N[rows], 0] >= 0]
    _check_enough(catalog, named, len(rows), config)
    compute = choose_compute(config.device, config.precision)
    book = FeatureBook(catalog, open_encoder(found, compute), batch_size=config.batch_size, workers=config.workers)
    book.encode(named, "Encoding", progress)
    kept = named[book.usable(named)]
    _check_enough(catalog, kept, len(rows), config)
    groups = [catalog.group(row) for row in kept.tolist()]
    likelihood = Likelihood(Classifier(labels, compute.device), book.of(kept), right_CK[catalog.taxon_of_N[kept]])
    temperature, top1, before, after, apart = _fit(likelihood, groups)
    _check_measured(temperature, top1, counted(len(kept), len(set(groups))), config)
    counts = {"images": len(kept), "groups": len(set(groups))}
    record = {
        "catalog_sha256": catalog.identity, "split": config.split, **counts,
        "before": asdict(before), "after": asdict(after), "cross_validated": asdict(apart) if apart else None,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    file = keep_calibration(
        found, Calibration(temperature, found.weights_sha256, labels.manifest["id"], record), output
    )
    return Fitted(
        temperature, **counts, left_out=len(rows) - len(kept), top1=top1, before=before, after=after, cross_validated=apart, file=file,
        place=_place_of(found, file, output), failures=book.counted_failures(),
    )  # fmt: skip


def _place_of(found: FoundModel, file: Path, output: Path | None) -> str:
    if found.folder is not None and file.resolve() == (found.folder / CALIBRATION).resolve():
        return "That is the model's own folder: classify and evaluate use the temperature for everyone who opens the model from it."
    if output is None:
        return (
            f"That is your own cache, because {why_not_beside(found) or f'{found.folder} cannot be written'}; classify and evaluate "
            "use it for you alone. For others, give --output FILE."
        )
    return f"classify and evaluate use it when it lies in the model's folder as {CALIBRATION}; copy it there if the folder is yours."


def _fit(likelihood: Likelihood, groups: list[str]) -> tuple[float, float, Sureness, Sureness, Sureness | None]:
    """Return the best temperature, top-1, and the fit before, after, and cross-validated by group."""
    curve_NT = likelihood.curve()
    temperature = best_temperature(curve_NT.mean(axis=0))
    before, hits = likelihood.sureness(np.ones(len(curve_NT)))
    after, _ = likelihood.sureness(np.full(len(curve_NT), temperature))
    fold_N = np.array([int(hashed_share(f"fold {group}") * FOLDS) for group in groups])
    apart = None
    if len(set(fold_N.tolist())) > 1:
        folds = {fold: best_temperature(curve_NT[fold_N != fold].mean(axis=0)) for fold in set(fold_N.tolist())}
        apart, _ = likelihood.sureness(np.array([folds[fold] for fold in fold_N.tolist()]))
    return temperature, float(hits.mean()), before, after, apart


def own_rows(catalog: Catalog, labels: LabelSet) -> NDArray[np.int64]:
    """Return the label rows of each taxon of a catalog, -1 if there are fewer."""
    truth = truths_of(catalog.taxa, labels)[EXACT]
    spans = labels.spans(truth.level)
    return padded([
        [row for span in own if span >= 0 for row in range(int(spans.starts_S[span]), int(spans.ends_S[span]))]
        for own in truth.spans_CK.tolist()
    ])  # fmt: skip


class Likelihood:
    """Likelihood of N true taxa under any temperature. Logits are computed again in each pass, since they may not fit in memory."""

    def __init__(self, classifier: Classifier, features_ND: NDArray[np.float16], right_NK: NDArray[np.int64]) -> None:
        self._classifier, self._features_ND, self._right_NK = classifier, features_ND, right_NK

    def curve(self) -> NDArray[np.float64]:
        """Return N×T negative log-likelihoods, one column per temperature of ``TEMPERATURES``."""
        found = np.empty((len(self._features_ND), len(TEMPERATURES)))
        for rows, logits_BN, right_BK in self._parts():
            for column, temperature in enumerate(TEMPERATURES.tolist()):
                found[rows, column] = _nll(logits_BN / temperature, right_BK / temperature)
        return found

    def sureness(self, temperature_N: NDArray[np.float64]) -> tuple[Sureness, NDArray[np.bool_]]:
        """Return NLL and calibration error with a temperature for each image, and a mask of the right best answers."""
        import torch

        nll_N, best_N = np.empty(len(temperature_N)), np.empty(len(temperature_N))
        hits_N = np.empty(len(temperature_N), dtype=bool)
        for rows, logits_BN, right_BK in self._parts():
            warmth_B1 = torch.from_numpy(temperature_N[rows]).to(logits_BN)[:, None]
            scaled_BN = logits_BN / warmth_B1
            nll_N[rows] = _nll(scaled_BN, right_BK / warmth_B1)
            best_N[rows] = torch.exp(scaled_BN.amax(dim=1) - scaled_BN.logsumexp(dim=1)).clamp(max=1).cpu().numpy()
            hits_N[rows] = (right_BK.amax(dim=1) >= logits_BN.amax(dim=1)).cpu().numpy()
        return Sureness(mean_nll(np.exp(-nll_N)), reliability(best_N, hits_N).ece), hits_N

    def _parts(self) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Yield rows, their logits over all labels, and the logits of their own labels (minus infinity if there are fewer)."""
        import torch

        step = max(1, _PASS_BYTES // (4 * len(self._classifier.labels)))
        for start in range(0, len(self._features_ND), step):
            rows = slice(start, min(start + step, len(self._features_ND)))
            with torch.inference_mode():
                logits_BN = self._classifier.logits(self._features_ND[rows])
                right_BK = torch.from_numpy(self._right_NK[rows]).to(logits_BN.device)
                own_BK = logits_BN.gather(1, right_BK.clamp(min=0)).masked_fill(right_BK < 0, -torch.inf)
                yield rows, logits_BN, own_BK


def _nll(logits_BN: torch.Tensor, own_BK: torch.Tensor) -> NDArray[np.float64]:
    return np.asarray((logits_BN.logsumexp(dim=1) - own_BK.logsumexp(dim=1)).double().cpu().numpy())


def best_temperature(nll_T: NDArray[np.float64]) -> float:
    """Return the temperature at the minimum of a curve over ``TEMPERATURES``, by a parabola through the three lowest points."""
    lowest = int(nll_T.argmin())
    if lowest in (0, len(nll_T) - 1):
        return float(TEMPERATURES[lowest])
    left, middle, right = nll_T[lowest - 1 : lowest + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    return float(np.exp(np.log(TEMPERATURES[lowest]) + shift * np.log(TEMPERATURES[1] / TEMPERATURES[0])))


def _check_measured(temperature: float, top1: float, images: str, config: CalibrateConfig) -> None:
    """Refuse a temperature at an end of the tried ones: images that are all right are likeliest under endless certainty.

    Raises:
        DataError: with the share of right images.
    """
    if TEMPERATURES[1] <= temperature <= TEMPERATURES[-2]:
        return
    cause = "are all right" if top1 == 1 else "are all wrong" if top1 == 0 else f"are right for {top1:.1%}"
    raise DataError(
        f"split {config.split!r}: {images} {cause}, and the likeliest temperature lies at an end of the tried range "
        f"({TEMPERATURES[0]:g} to {TEMPERATURES[-1]:g}): such images do not show how sure the model may be, so none is kept; give a "
        "part with more images, of which the model names some wrong"
    )


def _check_enough(catalog: Catalog, rows: NDArray[np.int64], asked: int, config: CalibrateConfig) -> None:
    """Refuse to fit a temperature on too few groups: it would be that of these images alone.

    Raises:
        DataError: with the number that there are.
    """
    found = Evidence.of(config.split, [catalog.group(row) for row in rows.tolist()])
    if found.can_choose:
        return
    missing = asked - found.images
    unused = (
        f"; {missing} further ones cannot be read or are of a taxon that is not in the label set {config.labels}"
        if missing
        else ""
    )
    advice = ["give --labels that have its taxa"] if missing else []
    if config.split == "dev" and (share := enough_dev(catalog, catalog.dev_fraction)) is not None:
        advice.append(f"train with --dev-fraction {share:g}, which holds out enough")
    advice.append("give a catalog with more groups, or a larger part of your own with --split")
    raise DataError(
        f"split {config.split!r}: {counted(found.images, found.groups)}{found.unequal}{unused}. A temperature needs as many as "
        f"{FEWEST_TO_CHOOSE} equal groups, so none is fitted: {'; or '.join(advice)}"
    )
