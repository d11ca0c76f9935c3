"""A request made ready: its model, labels and prior, identified without torch and opened when they are first needed."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bioclip_core import __version__
from bioclip_core.classify import CLASSIFY_VERSION, consensus_of
from bioclip_core.encoder import ENCODE_VERSION, Encoder
from bioclip_core.errors import PluginError
from bioclip_core.identity import settings_id
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.media import Place
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.rules.settings import parse_rules, rule_settings
from bioclip_plugin.running.label_choice import LabelChoice, choose_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.classify import Candidate, Classification, Classifier
    from bioclip_core.device import Compute, Precision
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin.contracts.rule import Rule

log = logging.getLogger(__name__)

_REMEMBERED_PLACES = 256


@dataclass(frozen=True, slots=True)
class Identities:
    """The three nested identities of what an engine makes, each with the settings that it is the hash of."""

    feature_id: str
    feature_settings: Mapping[str, Any]
    answer_id: str
    answer_settings: Mapping[str, Any]
    rule_id: str
    rule_settings: Mapping[str, Any]


class Engine:
    """What one request needs to answer. Opening is lazy and safe from several threads."""

    def __init__(self, request: ClassifyRequest, plugins: BioclipPluginManager) -> None:
        self.request = request
        self.plugins = plugins
        self.model = find_model(request.model, plugins.models(), exact=request.exact)
        self.rules: list[Rule] = parse_rules(request.rules, plugins.rules()) if request.rules else []
        """The active rules, in the order in which they are asked."""
        self._recorded: Precision | None = None
        # One lock for whatever is opened late; functools' cached_property has a lock of its own, and two would deadlock.
        self._lock = threading.RLock()
        self._labels: LabelChoice | None = None
        self._compute: Compute | None = None
        self._encoder: Encoder | None = None
        self._classifier: Classifier | None = None
        self._label_set: LabelSet | None = None
        self._identities: Identities | None = None
        self._suffixes: frozenset[str] | None = None
        self._weights: dict[Place, NDArray[np.float32] | None] = {}

    @property
    def labels(self) -> LabelChoice:
        """The labels of the request, chosen but not opened."""
        with self._lock:
            if self._labels is None:
                self._labels = choose_labels(self.request, self.model)
            return self._labels

    def keep_precision(self, recorded: Sequence[Mapping[str, Any]]) -> None:
        """Use the precision that an earlier run over the same store recorded for the same model and preprocessing.

        Args:
            recorded: feature settings of earlier runs with these weights, the newest first.
        """
        if self.request.precision != "auto":
            return
        for settings in recorded:
            if settings.get("preprocessing") == self.model.preprocessing.identity():
                self._recorded = settings["precision"]
                return

    @property
    def compute(self) -> Compute:
        """Device and precision, with the reason; imports torch."""
        from bioclip_core.device import choose_compute

        with self._lock:
            if self._compute is None:
                self._compute = choose_compute(self.request.device, self.request.precision, self._recorded)
            return self._compute

    @property
    def is_computing(self) -> bool:
        """Whether anything needed torch so far."""
        return self._compute is not None

    @property
    def precision(self) -> Precision:
        """The precision alone; torch is asked only where nobody said and nothing is recorded."""
        from bioclip_core.device import checked_precision

        if self.request.precision != "auto":
            return checked_precision(self.request.precision)
        return self._recorded or self.compute.precision

    @property
    def identities(self) -> Identities:
        """What features, answers and decisions are stored under."""
        with self._lock:
            if self._identities is None:
                self._identities = self._made_identities()
            return self._identities

    @property
    def feature_settings(self) -> dict[str, Any]:
        """What decides features, whatever the labels; its hash is the ``feature_id``."""
        return {
            "weights_sha256": self.model.weights_sha256,
            "preprocessing": self.model.preprocessing.identity(),
            "precision": self.precision,
            "encode_version": ENCODE_VERSION,
        }

    def _made_identities(self) -> Identities:
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
        rules = rule_settings(answer_id, self.request.threshold, self.rules)
        return Identities(feature_id, features, answer_id, answers, settings_id(rules), rules)

    @property
    def dimension(self) -> int:
        """D, without opening the model where its config says it."""
        return int(self.model.config.get("embed_dim") or 0) or self.encoder.dimension

    @property
    def encoder(self) -> Encoder:
        """The opened model."""
        with self._lock:
            if self._encoder is None:
                log.info("Opening %s on %s", self.model.name, self.compute.described())
                self._encoder = open_encoder(self.model, self.compute)
            return self._encoder

    @property
    def classifier(self) -> Classifier:
        """The opened labels on the model's device."""
        from bioclip_core.classify import Classifier

        with self._lock:
            if self._classifier is None:
                labels = self.label_set
                self._classifier = Classifier(labels, self.compute.device, temperature=self.labels.temperature or 1.0)
            return self._classifier

    @property
    def label_set(self) -> LabelSet:
        """The opened labels; a folder of them opens without torch, words need the model's text tower."""
        with self._lock:
            if self._label_set is None:
                encoder = self.encoder if self.labels.folder is None else None
                labels = self.labels.open(encoder, self.model)
                labels.level(self.request.rank)
                self._label_set = labels
            return self._label_set

    @property
    def level(self) -> str:
        """The level that the requested rank means for these labels."""
        custom = self.labels.folder is None
        return "label" if custom and self.request.rank == "species" else self.request.rank

    @property
    def batch_size(self) -> int:
        """Regions encoded at once."""
        if self.request.batch_size:
            return self.request.batch_size
        return 128 if self.compute.device.startswith("cuda") else 16

    def opens(self, suffix: str) -> bool:
        """Whether a plugin opens files of this suffix (``.mp4``, in lower case), so that others need not be asked about."""
        with self._lock:
            if self._suffixes is None:
                self._suffixes = self.plugins.media_suffixes()
            return suffix in self._suffixes

    @property
    def workers(self) -> int:
        """Decoding threads."""
        return self.request.workers or min(16, os.cpu_count() or 1)

    def classify(self, features_BD: NDArray[np.float16], places: Sequence[Place]) -> list[Classification]:
        """Classify B features, each with the prior of its place (B of them)."""
        weighed = self.weighs
        keys = [place if weighed and place else Place() for place in places]
        found: list[Classification | None] = [None] * len(keys)
        for place in dict.fromkeys(keys):
            rows = [row for row, key in enumerate(keys) if key == place]
            answers = self.classifier.classify(
                features_BD[rows], rank=self.request.rank, top=self.request.top, weights_N=self.prior(place)
            )
            for row, answer in zip(rows, answers, strict=True):
                found[row] = answer
        return [answer for answer in found if answer is not None]

    def consensus(self, by_rank: Mapping[str, Sequence[Candidate]]) -> Candidate | None:
        """The most specific taxon that reaches the request's threshold."""
        return consensus_of(by_rank, self.request.threshold)

    @property
    def weighs(self) -> bool:
        """Whether a plugin weighs labels by place."""
        return bool(self._prior_plugins())

    def prior(self, place: Place) -> NDArray[np.float32] | None:
        """The product of what all plugins say of a place (N weights), asked once a distinct place."""
        if not place or not self.weighs:
            return None
        with self._lock:
            if place not in self._weights:
                if len(self._weights) >= _REMEMBERED_PLACES:
                    self._weights.pop(next(iter(self._weights)))
                self._weights[place] = self._asked_weights(place)
            return self._weights[place]

    def provenance(self) -> dict[str, Any]:
        """What is worth knowing beside the identities; no secrets."""
        entry = self.model.entry
        return {
            "bioclip_plugin": __version__,
            "model": {**self.model.identity(), "name": self.model.name, "licence": entry.licence if entry else ""},
            "precision": self.precision,
            "precision_asked": self.request.precision,
            "plugins": [f"{row['name']} ({row['distribution']})" for row in self.plugins.described()],
            "packages": {name: version(name) for name in ("torch", "open_clip_torch", "pillow")},
            "python": platform.python_version(),
            "host": platform.node(),
            "system": platform.platform(),
        }

    def _prior_plugins(self) -> list[str]:
        """The plugins that weigh labels by place: part of every answer's identity."""
        return sorted(
            f"{impl.plugin_name} {self.plugins.distributions.get(impl.plugin_name, '')}".strip()
            for impl in self.plugins.hook.candidate_taxa.get_hookimpls()
        )

    def _asked_weights(self, place: Place) -> NDArray[np.float32] | None:
        import numpy as np

        labels = self.label_set
        product: NDArray[np.float32] | None = None
        for said in self.plugins.hook.candidate_taxa(place=place, labels=labels):
            weights = np.asarray(said, dtype=np.float32)
            if weights.shape != (len(labels),) or not np.isfinite(weights).all() or (weights < 0).any():
                raise PluginError(
                    f"candidate_taxa for {place}: a plugin gave {weights.shape} weights; needed are {len(labels)} finite numbers from 0"
                )
            product = weights if product is None else product * weights
        return product
