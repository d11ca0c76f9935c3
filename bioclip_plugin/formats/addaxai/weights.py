"""The weights file: vision tower and label embeddings, traced to one TorchScript module and compared with the model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Classifier
from bioclip_core.errors import ModelError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.open_clip_encoder import OpenClipEncoder

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.001
"""Largest difference of a probability between the traced module and the model itself, on the CPU in float32."""
_TRIED = (1, 2, 5)
"""Batch sizes for which the traced module is compared with the model; it is traced with three images."""


def rows_in_order(labels: LabelSet) -> NDArray[np.int64]:
    """Return the labels in use in the order of the module's output: kind by kind, and within a kind as in the label set."""
    return np.concatenate([kind.rows_R[labels.kept_N[kind.rows_R]] for kind in labels.kinds])


def write_weights(
    path: Path, encoder: OpenClipEncoder, classifier: Classifier, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Trace and store the model, load it again and compare its answers.

    TorchScript is loaded by old and new versions of torch without the code of the model. The tower is traced with gradients
    on, since without them torch would use a fused operation that Apple's GPUs do not have. Tower weights that float16 holds
    exactly are stored as float16.

    Args:
        path: the file to write.
        encoder: in float32 on the CPU.
        classifier: its labels, in float32 on the CPU.
        settings: stored beside the weights, as JSON.

    Returns:
        ``stored_as`` and ``largest_difference``.

    Raises:
        ModelError: if the tower cannot be traced, or if the traced one gives other answers.
    """
    import torch

    size = encoder.preprocessing.size
    images_BHWC = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8))
    module = _whole_model(encoder, classifier)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # torch advises to write models that trace better, and to use formats that older torch cannot load. It does so from C,
        # past ``quiet``; but models are exported by a command, whose process is its own.
        warnings.simplefilter("ignore")
        try:
            with torch.enable_grad():
                traced: Any = torch.jit.trace(module, (images_BHWC,), check_trace=False)  # type: ignore[no-untyped-call]
            traced.requires_grad_(False)
            halved = _holds_in_half(traced.tower)
            if halved:
                traced.tower.half()
            torch.jit.save(traced, str(path), _extra_files={"settings.json": json.dumps(dict(settings))})
            traced.tower.float()  # its weights are the encoder's own
            loaded: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
            difference = _largest_difference(loaded.float().eval(), encoder, classifier)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError(
                f"the image tower of this model cannot be traced by torch {torch.__version__}: {first}"
            ) from error
    if not difference <= TOLERANCE:
        raise ModelError(
            f"the traced model differs from the model itself by {difference:.4f} in a probability (allowed is {TOLERANCE}); "
            "nothing was written. Its image tower depends on the image's values in a way that a trace cannot hold"
        )
    return {"stored_as": "float16" if halved else "float32", "largest_difference": difference}


def _whole_model(encoder: OpenClipEncoder, classifier: Classifier) -> torch.nn.Module:
    """Return encoder and classifier as one module, from B×H×W×3 bytes to B×C probabilities."""
    import torch

    labels, temperature = classifier.labels, classifier.temperature
    kinds = [(kind, rows) for kind in labels.kinds if len(rows := kind.rows_R[labels.kept_N[kind.rows_R]])]
    normalize = torch.nn.functional.normalize

    class WholeModel(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.tower = encoder.model.visual.requires_grad_(True)
            contract = encoder.preprocessing
            self.register_buffer("mean", torch.tensor(contract.mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("std", torch.tensor(contract.std).view(1, 3, 1, 1) * 255)
            for number, (kind, rows_R) in enumerate(kinds):
                embeddings = torch.from_numpy(np.ascontiguousarray(labels.embeddings_ND[rows_R]))
                self.register_buffer(f"labels_{number}", embeddings)
                if kind.feature_mean is not None:
                    self.register_buffer(f"feature_mean_{number}", torch.tensor(kind.feature_mean))
                if labels.row_scales is not None:
                    factor, bias = (
                        torch.tensor(values)[rows_R] for values in (labels.row_scales.factor, labels.row_scales.bias)
                    )
                    self.register_buffer(f"factor_{number}", factor)
                    self.register_buffer(f"bias_{number}", bias)

        def forward(self, images_BHWC: torch.Tensor) -> torch.Tensor:
            images_BCHW = (images_BHWC.permute(0, 3, 1, 2).float() - self.mean) / self.std
            features = self.tower(images_BCHW)
            features_BD = features[0] if isinstance(features, (tuple, list)) else features
            # Rounded like stored features, so that the answers are those of bioclip-plugin.
            features_BD = normalize(features_BD.float(), dim=-1).half().float()
            logits = []
            for number, (kind, _) in enumerate(kinds):
                query_BD = features_BD
                if kind.feature_mean is not None:
                    query_BD = normalize(features_BD - getattr(self, f"feature_mean_{number}"), dim=1)
                part = query_BD * kind.scale @ getattr(self, f"labels_{number}").float().t() + kind.bias
                if labels.row_scales is not None:
                    part = part * getattr(self, f"factor_{number}") + getattr(self, f"bias_{number}")
                logits.append(part)
            return torch.softmax(torch.cat(logits, dim=1) / temperature, dim=1)

    return WholeModel().eval()


def _holds_in_half(tower: torch.nn.Module) -> bool:
    """True if float16 holds every weight of the tower exactly, which is so for a checkpoint in float16."""
    return all(
        bool((tensor.half().float() == tensor).all())
        for tensor in (*tower.parameters(), *tower.buffers())
        if tensor.is_floating_point()
    )


def _largest_difference(loaded: Any, encoder: OpenClipEncoder, classifier: Classifier) -> float:
    """Return the largest difference of a probability, on images of noise and of plain colours, for several batch sizes."""
    import torch

    chance = np.random.default_rng(1)
    size, rows = encoder.preprocessing.size, rows_in_order(classifier.labels)
    largest = 0.0
    for count in _TRIED:
        images_BHWC = chance.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        images_BHWC[::2] = images_BHWC[::2, :1, :1]
        wanted = torch.softmax(classifier.logits(encoder.encode_images(images_BHWC)), dim=1)[:, torch.from_numpy(rows)]
        with torch.no_grad():
            largest = max(largest, float((loaded(torch.from_numpy(images_BHWC)) - wanted).abs().max()))
    return largest
