"""A request made ready: its model, labels and prior, identified without torch and opened when they are first needed."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from bioclip_core import __version__
from bioclip_core.acceleration.runtime_choice import choose_runtime, has_encoder_of_its_own
from bioclip_core.classify import CLASSIFY_VERSION, Candidate, Classification, Classifier, consensus_of
from bioclip_core.device import INT8, Compute, checked_precision, choose_compute
from bioclip_core.encoder import ENCODE_VERSION, USUAL_BATCH, Encoder, best_batch_of
from bioclip_core.errors import PluginError, UsageError
from bioclip_core.identity import settings_id
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.runtimes.library import version_of
from bioclip_core.runtimes.quantised import quantised_provenance
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.contracts.rule import Rule
from bioclip_plugin.items.media import Place
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.rules.settings import parse_rules, rule_settings
from bioclip_plugin.running.batches import BatchSizes, sizes_for
from bioclip_plugin.running.detecting import ChosenDetector, DetectorSettings, choose_detector
from bioclip_plugin.running.label_choice import LabelChoice, choose_labels
from bioclip_plugin.running.places import WORKING_DIRECTORY, working_directory
from bioclip_plugin.running.runtime_settings import chosen_int8, int8_proposal, kept_settings, precision_of, runtime_of

T = TypeVar("T")

log = logging.getLogger(__name__)

_REMEMBERED_PLACES = 256


@dataclass(frozen=True, slots=True)
class Identities:
    """The three nested identities of an engine's results, each with the settings that it is the hash of."""

    feature_id: str
    feature_settings: Mapping[str, Any]
    answer_id: str
    answer_settings: Mapping[str, Any]
    rule_id: str
    rule_settings: Mapping[str, Any]


class _Opened(Generic[T]):
    """A property that is computed when first needed, under the lock of its engine.

    ``functools.cached_property`` has a lock of its own, and two locks would deadlock.
    """

    def __init__(self, make: Callable[[Engine], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, engine: Engine, _owner: type) -> T:
        values = vars(engine)
        with engine.lock:
            if self._name not in values:
                values[self._name] = self._make(engine)
        value: T = values[self._name]
        return value


class Engine:
    """The model, labels and rules of one request. Opening is lazy and safe from several threads."""

    def __init__(self, request: ClassifyRequest, plugins: BioclipPluginManager) -> None:
        self.request = request
        self.plugins = plugins
        # A detector may find small animals, so that an image is decoded whole, once, for it and for the crops.
        is_exact = request.exact or request.detector is not None
        self.model = find_model(request.model, plugins.models(), exact=is_exact)
        self.rules: list[Rule] = parse_rules(request.rules, plugins.rules()) if request.rules else []
        """The active rules, in the order in which they are asked."""
        self.lock = threading.RLock()
        self._recorded: Mapping[str, Any] = {}
        self._weights_at = lru_cache(maxsize=_REMEMBERED_PLACES)(self._product_of_plugins)

    @property
    def is_open(self) -> bool:
        """True if the model or the labels were opened, which a forked child cannot use."""
        has_model = not vars(self).keys().isdisjoint(("encoder", "chosen", "classifier", "label_set"))
        return has_model or (vars(self).get("detector") is not None and vars(self)["detector"].is_open)

    def keep_precision(self, recorded: Sequence[Mapping[str, Any]], *, encodes: bool = True) -> None:
        """Use the precision and the runtime that an earlier run over the same store recorded for the same model and preprocessing.

        Args:
            recorded: feature settings of earlier runs with these weights, the newest first.
            encodes: False for work on stored features alone, for which a runtime need not be there.
        """
        preprocessing = self.model.preprocessing.identity()
        same = [settings for settings in recorded if settings.get("preprocessing") == preprocessing]
        self._recorded = kept_settings(same, self.request, self.model, encodes=encodes)

    @property
    def is_recorded_int8(self) -> bool:
        """True if a run that is continued has an int8 model."""
        return bool(self._recorded.get("quantised"))

    def leave_int8(self, reason: str) -> None:
        """Go on without the int8 model that was asked for, with a line."""
        log.warning("precision int8 is not used: %s; the images are encoded in %s", reason, self.compute.precision)
        vars(self)["quantised"] = ""

    def why_not_calibrated(self) -> str:
        """Return why an int8 model would not be used by this engine; empty if it would."""
        if self.request.precision != INT8:
            return f"precision is {self.request.precision}; open a Session with precision='int8'"
        if vars(self).get("quantised") == "":
            return f"this Session has left int8 for {self.compute.precision}, as said; open another one, and calibrate it first"
        return ""

    def int8_proposal(self, images: int) -> str:
        """Return one line that proposes int8 after a run that encoded many images without it; empty where it is of no use."""
        if "encoder" not in vars(self) or self.request.precision not in ("auto", self.precision):
            return ""
        return int8_proposal(self.model, self.compute.device, self.precision, images)

    def use_encoder(self, encoder: Encoder) -> None:
        """Use an encoder that is open already."""
        vars(self)["encoder"] = encoder

    @_Opened
    def labels(self) -> LabelChoice:
        """The labels of the request, chosen but not opened."""
        return choose_labels(self.request, self.model)

    @_Opened
    def detector(self) -> ChosenDetector | None:
        """The detector of the request, chosen but not opened; None without one."""
        return None if self.request.detector is None else choose_detector(self.request.detector, self.plugins)

    def detection(self, threshold: float | None = None) -> DetectorSettings | None:
        """Return the detector with a threshold (None: the request's); None without a detector."""
        chosen = self.detector
        if chosen is None:
            return None
        return DetectorSettings(chosen, self.request.detection_threshold if threshold is None else threshold)

    @_Opened
    def compute(self) -> Compute:
        """Device and precision without an int8 model, with the reason; imports torch."""
        asked = "auto" if self.request.precision == INT8 else self.request.precision
        return choose_compute(self.request.device, asked, precision_of(self._recorded))

    @_Opened
    def quantised(self) -> str:
        """sha256 of the int8 model in use; empty without one."""
        if recorded := self._recorded.get("quantised"):
            return str(recorded)
        if self.request.precision != INT8:
            return ""
        return chosen_int8(self.model, self.compute)

    @_Opened
    def chosen(self) -> tuple[Compute, Encoder | None]:
        """The compute with its runtime, and the encoder if it was opened for the choice."""
        kept = runtime_of(self._recorded)
        if self.quantised:
            why = "as recorded by an earlier run in this store" if kept else "as requested"
            return Compute("cpu", "fp32", why, "openvino", quantised=self.quantised), None
        # A run that began on the CPU with OpenVINO goes on so, on a machine with a GPU too.
        compute = replace(self.compute, device="cpu") if kept == "openvino" else self.compute
        return choose_runtime(self.model, compute, self.request.runtime, kept)

    @property
    def is_computing(self) -> bool:
        """True if torch was needed so far."""
        return "compute" in vars(self)

    @property
    def precision(self) -> str:
        """The precision alone; torch is asked only if it is neither requested nor recorded."""
        if self.quantised:
            return INT8
        if self.request.precision not in ("auto", INT8):
            return checked_precision(self.request.precision)
        return precision_of(self._recorded) or self.compute.precision

    @_Opened
    def identities(self) -> Identities:
        """Identities of features, answers and decisions in the store."""
        features = self.feature_settings
        feature_id = settings_id(features)
        answers = {
            "feature_id": feature_id,
            **self.labels.identity(),
            "prior": self._prior_plugins(),
            "rank": self.request.rank,
            "top": self.request.top,
            "classify_version": CLASSIFY_VERSION,
        }
        answer_id = settings_id(answers)
        rules = rule_settings(answer_id, self.request.threshold, self.rules, detection=self.detection_settings())
        return Identities(feature_id, features, answer_id, answers, settings_id(rules), rules)

    def detection_settings(self, threshold: float | None = None) -> dict[str, Any] | None:
        """Return detector and threshold as they enter the identity of a run; None without a detector."""
        detection = self.detection(threshold)
        return None if detection is None else detection.as_rule_settings()

    @property
    def feature_settings(self) -> dict[str, Any]:
        """Settings that determine features, whatever the labels; their hash is the ``feature_id``."""
        return {
            "weights_sha256": self.model.weights_sha256,
            "preprocessing": self.model.preprocessing.identity(),
            "precision": self.precision,
            "encode_version": ENCODE_VERSION,
            **self._runtime_settings(),
        }

    def _runtime_settings(self) -> dict[str, str]:
        """Return what a runtime adds to the identity of features; nothing for torch, and for fp32, where all give the same."""
        if self.quantised:
            return {"runtime": "openvino", "quantised": self.quantised}
        if self.precision == "fp32" or self.request.runtime == "torch":
            return {}
        runtime = runtime_of(self._recorded) or self.chosen[0].runtime
        return {} if runtime == "torch" else {"runtime": runtime}

    @property
    def dimension(self) -> int:
        """D, without opening the model if its config states it."""
        return int(self.model.config.get("embed_dim") or 0) or self.encoder.dimension

    @_Opened
    def encoder(self) -> Encoder:
        """The opened model."""
        compute, encoder = self.chosen
        if runtime_of(self._recorded) == "openvino" and compute.runtime != "openvino":
            raise UsageError(
                f"the features of this store were encoded in {self.precision} with OpenVINO, which cannot run the model here; give "
                "--runtime torch, with which images are encoded again"
            )
        log.info("Opening %s on %s", self.model.name, compute.described())
        return encoder or open_encoder(self.model, compute)

    def encoded_with(self) -> dict[str, Any]:
        """Return runtime, device and precision of the open model, for the provenance; with int8 the model and its agreement."""
        if has_encoder_of_its_own(self.model):
            return {"runtime": "plugin", "device": self.compute.device, "precision": self.precision}
        compute = self.chosen[0]
        found: dict[str, Any] = {"runtime": compute.runtime, "device": compute.device, "precision": self.precision}
        if compute.runtime == "openvino":
            found["openvino"] = version_of("openvino")
        if self.quantised:
            found["int8_model"] = quantised_provenance(self.model, self.quantised)
        return found

    @_Opened
    def classifier(self) -> Classifier:
        """The opened labels on the model's device."""
        return Classifier(self.label_set, self.compute.device, temperature=self.labels.temperature or 1.0)

    @_Opened
    def label_set(self) -> LabelSet:
        """The opened labels; a label set's folder opens without torch, words need the model's text tower."""
        labels = self.labels.open(self.encoder if self.labels.folder is None else None, self.model)
        labels.level(self.request.rank)
        return labels

    @property
    def level(self) -> str:
        """The level that the requested rank means for these labels."""
        custom = self.labels.folder is None
        return "label" if custom and self.request.rank == "species" else self.request.rank

    @property
    def batch_size(self) -> int:
        """Regions encoded at once; the usual number until the model is open, without importing torch."""
        if "encoder" in vars(self):
            return self.batches.size
        return self.request.batch_size or USUAL_BATCH

    @_Opened
    def batches(self) -> BatchSizes:
        """The size of batches: the request's, or the best one for the model on its device in its runtime."""
        return sizes_for(self.request.batch_size, self.model, self.chosen[0], lambda: best_batch_of(self.encoder))

    @property
    def workers(self) -> int:
        """Number of decoding threads."""
        return self.request.workers or min(16, os.cpu_count() or 1)

    def opens(self, suffix: str) -> bool:
        """True if a plugin opens files of this suffix (``.mp4``, in lower case), so that it is asked about them."""
        return suffix in self._suffixes

    @_Opened
    def _suffixes(self) -> frozenset[str]:
        return self.plugins.media_suffixes()

    def classify(self, features_BD: NDArray[np.float16], places: Sequence[Place]) -> list[Classification]:
        """Classify B features, each with the prior of its place (B of them)."""
        rows_of: dict[Place, list[int]] = {}
        for row, place in enumerate(places):
            rows_of.setdefault(place if self.weighs and place else Place(), []).append(row)
        answers: dict[int, Classification] = {}
        for place, rows in rows_of.items():
            found = self.classifier.classify(
                features_BD[rows], rank=self.request.rank, top=self.request.top, weights_N=self.prior(place)
            )
            answers.update(zip(rows, found, strict=True))
        return [answers[row] for row in range(len(places))]

    def reason_without_candidates(self) -> str:
        """Return the reason why no label got a probability."""
        asked = ", ".join(self._prior_plugins())
        return f"no label got a probability{f' (labels are weighed by place by {asked})' if asked else ''}"

    def consensus(self, by_rank: Mapping[str, Sequence[Candidate]]) -> Candidate | None:
        """Return the most specific taxon that reaches the request's threshold."""
        return consensus_of(by_rank, self.request.threshold)

    @property
    def weighs(self) -> bool:
        """True if a plugin weighs labels by place."""
        return bool(self._prior_plugins())

    def prior(self, place: Place) -> NDArray[np.float32] | None:
        """Return the product of all plugins' weights for a place (N weights); each distinct place is asked about once."""
        if not place or not self.weighs:
            return None
        with self.lock:
            return self._weights_at(place)

    def provenance(self) -> dict[str, Any]:
        """Return facts to keep beside the identities; no secrets."""
        entry = self.model.entry
        return {
            "bioclip_plugin": __version__,
            "model": {**self.model.identity(), "name": self.model.name, "licence": entry.licence if entry else ""},
            **({} if self.detector is None else {"detector": self.detector.provenance()}),
            "precision": self.precision,
            "precision_asked": self.request.precision,
            "plugins": [f"{row['name']} ({row['distribution']})" for row in self.plugins.described()],
            "packages": {name: version(name) for name in ("torch", "open_clip_torch", "pillow")},
            "python": platform.python_version(),
            "host": platform.node(),
            "system": platform.platform(),
            WORKING_DIRECTORY: working_directory(),
        }

    def _prior_plugins(self) -> list[str]:
        """Return the plugins that weigh labels by place: part of every answer's identity."""
        return sorted(
            f"{impl.plugin_name} {self.plugins.distributions.get(impl.plugin_name, '')}".strip()
            for impl in self.plugins.hook.candidate_taxa.get_hookimpls()
        )

    def _product_of_plugins(self, place: Place) -> NDArray[np.float32] | None:
        product: NDArray[np.float32] | None = None
        for weights_N in self.plugins.hook.candidate_taxa(place=place, labels=self.shown_labels):
            product = weights_N if product is None else product * weights_N
        if product is not None and not np.isfinite(product).all():
            raise PluginError(
                f"candidate_taxa for {place}: the weights of {', '.join(self._prior_plugins())} are too large to multiply"
            )
        return product

    @_Opened
    def shown_labels(self) -> LabelSet:
        """The opened labels as plugins see them: they cannot change them."""
        return self.label_set.read_only
