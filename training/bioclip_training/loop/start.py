"""The start of a training run: a model that the main job opens, or an architecture with random weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import open_clip
import torch

from bioclip_core.errors import ModelError, UnknownModel, UsageError, first_line
from bioclip_core.files.documents import read_document
from bioclip_core.files.homes import with_home
from bioclip_core.model_config import checked_model
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.open_clip_encoder import load_model, tokenizer_of
from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD, Preprocessing, preprocessing_of
from bioclip_core.process.quiet import quiet
from bioclip_core.weights import check_tokens

NEW = "new:"

_CONTRACT: Mapping[str, Any] = {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD), "interpolation": "bicubic"}
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2}

SMALL: Mapping[str, Mapping[str, Any]] = {
    "small": {
        "model_cfg": {
            "embed_dim": 192,
            "vision_cfg": {"image_size": 96, "layers": [1, 2, 2, 1], "width": 32, "head_width": 64},
            "text_cfg": _TEXT,
        },
        "preprocess_cfg": {**_CONTRACT, "resize_mode": "longest"},
    },
    "small-vit": {
        "model_cfg": {
            "embed_dim": 192,
            "vision_cfg": {"image_size": 96, "layers": 6, "width": 192, "head_width": 64, "patch_size": 12},
            "text_cfg": _TEXT,
        },
        "preprocess_cfg": {**_CONTRACT, "resize_mode": "longest"},
    },
}
"""Architectures that two cores can train from random weights. ``small`` is a ResNet, which learns from a few thousand images far
sooner than a vision transformer does. Both keep the aspect, since the outline of a leaf is half of its distinction."""

_SQUASH = {**_CONTRACT, "resize_mode": "squash"}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
)


@dataclass(frozen=True, slots=True)
class Start:
    """An open model to train: the open_clip module in fp32, and everything that its checkpoint must state."""

    model: Any
    tokenizer: Any
    model_cfg: Mapping[str, Any]
    """As in ``open_clip_config.json``."""
    preprocessing: Preprocessing
    identity: Mapping[str, str] = field(default_factory=dict)
    """Identity of the weights; empty if they are random."""
    tokenizer_files: Sequence[Path] = ()
    """Files in the start's folder that its tokenizer needs, and that the checkpoint must have too."""
    folder: Path | None = None
    """Folder of the start; None for random weights and weights without one."""
    licence: str = ""
    """Licence and citation as the registry states them; empty if unknown."""
    citation: str = ""

    @property
    def is_random(self) -> bool:
        """True if the weights are random, so that a zero-shot baseline is meaningless."""
        return not self.identity

    @property
    def preprocess_cfg(self) -> dict[str, Any]:
        """The checkpoint's ``preprocess_cfg``: the contract that it was trained under."""
        contract = self.preprocessing
        return {
            "size": contract.size, "mean": list(contract.mean), "std": list(contract.std), "interpolation": contract.interpolation,
            "resize_mode": contract.resize_mode, "fill_color": contract.fill,
        }  # fmt: skip


def open_start(name: str, entries: Mapping[str, ModelEntry], seed: int) -> Start:
    """Open the model that ``--start`` names.

    Args:
        name: as :func:`bioclip_core.models.find_model` takes it, or ``new:`` with a name of ``SMALL``, an architecture of
            open_clip, or a JSON file that holds ``model_cfg`` (and ``preprocess_cfg``).
        entries: the registry of models, by name.
        seed: of random weights.

    Raises:
        UnknownModel: if the model or architecture does not exist.
        ModelError: if it cannot be opened, or its tokenizer does not fit its text tower.
    """
    with quiet():
        start = _new(name, seed) if name.startswith(NEW) else _existing(name, entries)
    _check_tokenizer(name, start)
    return start


def with_pairwise_bias(start: Start) -> Start:
    """Return the start with the bias of the pairwise loss, if it lacks it (Zhai et al. 2023: -10, and a scale of 10)."""
    if getattr(start.model, "logit_bias", None) is not None:
        return start
    start.model.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))
    with torch.no_grad():
        start.model.logit_scale.fill_(math.log(10.0))
    return replace(start, model_cfg={**start.model_cfg, "init_logit_bias": -10.0})


def _existing(name: str, entries: Mapping[str, ModelEntry]) -> Start:
    found = find_model(name, entries)
    if found.entry and found.entry.open_encoder:
        raise UsageError(
            f"--start {name}: this model is a plugin's own encoder and cannot be trained here; start from an open_clip model"
        )
    candidates = [found.folder / file for file in _TOKENIZER_FILES] if found.folder else []
    files = tuple(file for file in candidates if file.is_file())
    licence, citation = (found.entry.licence, found.entry.citation) if found.entry else ("", "")
    return Start(
        load_model(found),
        tokenizer_of(found),
        _model_cfg(found),
        found.preprocessing,
        found.identity(),
        files,
        found.folder,
        licence,
        citation,
    )


def _model_cfg(found: FoundModel) -> dict[str, Any]:
    """Return the architecture alone: the weights come from the checkpoint, so nothing must be downloaded for it."""
    config: dict[str, Any] = json.loads(json.dumps(dict(found.config)))
    for part in ("vision_cfg", "text_cfg"):
        for key in ("timm_model_pretrained", "hf_model_pretrained"):
            if key in config.get(part, {}):
                config[part][key] = False
    return config


def _new(name: str, seed: int) -> Start:
    config, preprocess = _new_config(name.removeprefix(NEW))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            settings = dict(config)
            is_custom = settings.pop("custom_text", False) or "hf_model_name" in settings["text_cfg"]
            model = (open_clip.CustomTextCLIP if is_custom else open_clip.CLIP)(**settings)
    except Exception as error:  # each architecture raises its own kind for a config that it cannot build
        raise ModelError(f"--start {name}: no model can be made of this config: {first_line(error)}") from error
    contract = preprocessing_of(config["vision_cfg"].get("image_size", 224), folder=preprocess)
    return Start(model, _new_tokenizer(config["text_cfg"]), config, contract)


def _new_config(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``model_cfg`` and ``preprocess_cfg`` of an architecture by name, or of a JSON file."""
    if name in SMALL:
        small = json.loads(json.dumps(SMALL[name]))
        return small["model_cfg"], small["preprocess_cfg"]
    if name.endswith(".json"):
        return _config_of_file(Path(name))
    config = open_clip.get_model_config(name)
    if config is None:
        some = [model for model in open_clip.list_models() if model.startswith("ViT")][:6]
        raise UnknownModel(
            f"--start new:{name}: no such architecture; give new:small, new:FILE.json, or new: and one of open_clip's: "
            f"{', '.join(some)}, ..."
        )
    return config, dict(_SQUASH)


def _config_of_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    described = read_document(
        with_home(path, ModelError), dict[str, Any], name=f"--start new:{path}: the config", error=ModelError
    )
    config = described.get("model_cfg", described)
    if not isinstance(config, dict):
        config = {}
    missing = [part for part in ("embed_dim", "vision_cfg", "text_cfg") if part not in config]
    if missing:
        raise ModelError(
            f"--start new:{path}: the config lacks {', '.join(missing)}; it must look like open_clip_config.json of a checkpoint"
        )
    checked_model(config, f"--start new:{path}: the config")
    preprocess = described.get("preprocess_cfg") or dict(_SQUASH)
    if not isinstance(preprocess, dict):
        raise ModelError(f"--start new:{path}: preprocess_cfg is not an object")
    return config, preprocess


def _new_tokenizer(text: Mapping[str, Any]) -> Any:
    length, name = text.get("context_length", 77), text.get("hf_tokenizer_name")
    if not name:
        return open_clip.SimpleTokenizer(context_length=length)
    try:
        return open_clip.tokenizer.HFTokenizer(name, context_length=length, **text.get("tokenizer_kwargs", {}))
    except Exception as error:  # a hub out of reach raises whatever the hub client raises
        raise ModelError(f"the tokenizer {name} of this config cannot be loaded: {first_line(error)}") from error


def _check_tokenizer(name: str, start: Start) -> None:
    """Refuse a tokenizer that does not fit the text tower: the model would train on nonsense, or fail deep in torch."""
    text = start.model_cfg.get("text_cfg") or {}
    tokens = start.tokenizer(["a photo of Plantae Tracheophyta Magnoliopsida with common name zyzzyva."])
    check_tokens(f"--start {name}", tokens, text)
