"""What a training run starts from: a model that the main job opens, or an architecture with random weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import ModelError, UnknownModel, UsageError
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD, Preprocessing, preprocessing_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
"""What two cores can train from nothing. ``small`` is a ResNet, which learns from a few thousand images far sooner than a
vision transformer does; both keep the aspect, since the outline of a leaf is half of what tells it from others."""

_SQUASH = {**_CONTRACT, "resize_mode": "squash"}


@dataclass(frozen=True, slots=True)
class Start:
    """An open model to train: the open_clip module in fp32, and all that its checkpoint must say."""

    model: Any
    tokenizer: Any
    model_cfg: Mapping[str, Any]
    """As in ``open_clip_config.json``."""
    preprocessing: Preprocessing
    identity: Mapping[str, str] = field(default_factory=dict)
    """Of the weights; empty where they are random."""
    tokenizer_files: Sequence[Path] = ()
    """Files of the start's folder that its tokenizer needs and the checkpoint must have too."""

    @property
    def is_random(self) -> bool:
        """Whether nothing has been learnt yet, so that there is no zero-shot baseline."""
        return not self.identity

    @property
    def preprocess_cfg(self) -> dict[str, Any]:
        """``preprocess_cfg`` of the checkpoint: the contract that it was trained under."""
        contract = self.preprocessing
        return {
            "size": contract.size, "mean": list(contract.mean), "std": list(contract.std), "interpolation": contract.interpolation,
            "resize_mode": contract.resize_mode, "fill_color": contract.fill,
        }  # fmt: skip


def open_start(name: str, entries: Mapping[str, ModelEntry], seed: int) -> Start:
    """Open what ``--start`` names.

    Args:
        name: what :func:`bioclip_core.models.find_model` takes, or ``new:`` with a name of ``SMALL``, an architecture of
            open_clip, or a JSON file that holds ``model_cfg`` (and ``preprocess_cfg``).
        entries: the registry of models, by name.
        seed: of random weights.

    Raises:
        UnknownModel: if there is no such model or architecture.
        ModelError: if it cannot be opened, or its tokenizer does not fit its text tower.
    """
    start = _new(name, seed) if name.startswith(NEW) else _existing(name, entries)
    _check_tokenizer(name, start)
    return start


def with_pairwise_bias(start: Start) -> Start:
    """The same start with the bias that the pairwise loss needs, where it has none (Zhai et al. 2023: -10, and a scale of 10)."""
    import torch

    if getattr(start.model, "logit_bias", None) is not None:
        return start
    start.model.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))
    with torch.no_grad():
        start.model.logit_scale.fill_(math.log(10.0))
    config = {**start.model_cfg, "init_logit_bias": -10.0}
    return replace(start, model_cfg=config)


def _existing(name: str, entries: Mapping[str, ModelEntry]) -> Start:
    from bioclip_core.open_clip_encoder import load_model, tokenizer_of

    found = find_model(name, entries)
    if found.entry and found.entry.open_encoder:
        raise UsageError(
            f"--start {name}: this model is a plugin's own encoder and cannot be trained here; start from an open_clip model"
        )
    return Start(
        load_model(found), tokenizer_of(found), _model_cfg(found), found.preprocessing, found.identity(), _tokenizer_files(found)
    )  # fmt: skip


def _model_cfg(found: FoundModel) -> dict[str, Any]:
    """The architecture alone: the weights come from the checkpoint, so nothing must be fetched for it."""
    config = json.loads(json.dumps(dict(found.config)))
    for part in ("vision_cfg", "text_cfg"):
        for key in ("timm_model_pretrained", "hf_model_pretrained"):
            if key in config.get(part, {}):
                config[part][key] = False
    return dict(config)


def _tokenizer_files(found: FoundModel) -> tuple[Path, ...]:
    names = (
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spiece.model",
    )
    return tuple(found.folder / name for name in names if (found.folder / name).is_file()) if found.folder else ()


def _new(name: str, seed: int) -> Start:
    import open_clip
    import torch

    config, preprocess = _new_config(name.removeprefix(NEW))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            settings = dict(config)
            kind = open_clip.CustomTextCLIP if _needs_custom_text(settings) else open_clip.CLIP
            model = kind(**settings)
    except Exception as error:  # each architecture raises its own for a config that it cannot build
        raise ModelError(f"--start {name}: no model can be made of this config: {_first_line(error)}") from error
    size = config["vision_cfg"].get("image_size", 224)
    contract = preprocessing_of(int(size[0] if isinstance(size, (list, tuple)) else size), folder=preprocess)
    return Start(model, _new_tokenizer(config), config, contract)


def _needs_custom_text(settings: dict[str, Any]) -> bool:
    custom = bool(settings.pop("custom_text", False))
    return custom or "hf_model_name" in settings.get("text_cfg", {})


def _new_config(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """``model_cfg`` and ``preprocess_cfg`` of an architecture by name, or of a JSON file."""
    import open_clip

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
    try:
        described = json.loads(path.expanduser().read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"--start new:{path}: the config cannot be read: {_first_line(error)}") from error
    config = described.get("model_cfg", described) if isinstance(described, dict) else {}
    missing = [part for part in ("embed_dim", "vision_cfg", "text_cfg") if part not in config]
    if missing:
        raise ModelError(
            f"--start new:{path}: the config lacks {', '.join(missing)}; it must look like open_clip_config.json of a checkpoint"
        )
    return config, described.get("preprocess_cfg") or dict(_SQUASH)


def _new_tokenizer(config: Mapping[str, Any]) -> Any:
    import open_clip

    text = config["text_cfg"]
    named = text.get("hf_tokenizer_name")
    if named:
        try:
            return open_clip.tokenizer.HFTokenizer(
                named, context_length=text.get("context_length", 77), **text.get("tokenizer_kwargs", {})
            )
        except Exception as error:  # a hub out of reach raises whatever the hub client raises
            raise ModelError(f"the tokenizer {named} of this config cannot be had: {_first_line(error)}") from error
    return open_clip.SimpleTokenizer(context_length=text.get("context_length", 77))


def _check_tokenizer(name: str, start: Start) -> None:
    """A tokenizer with other ids or another length than the text tower would train on nonsense, or fail deep in torch."""
    text = start.model_cfg.get("text_cfg", {})
    tokens = start.tokenizer(["a photo of Plantae Tracheophyta Magnoliopsida with common name zyzzyva."])
    vocabulary, length = int(text.get("vocab_size", 49408)), int(text.get("context_length", 77))
    if int(tokens.max()) >= vocabulary:
        raise ModelError(
            f"--start {name}: its tokenizer gives token {int(tokens.max())}, its text tower knows {vocabulary} tokens (vocab_size); "
            "this tokenizer belongs to another model"
        )
    if tokens.shape[1] != length:
        raise ModelError(
            f"--start {name}: its tokenizer gives {tokens.shape[1]} tokens a caption, its text tower takes {length} (context_length); "
            "this tokenizer belongs to another model"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
