"""Finding a model: from a name, a folder, a file or a hub to its config, weights and identity, without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bioclip_core.device import Compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import ModelError, ModelUnavailable, UnknownModel
from bioclip_core.files.homes import with_home
from bioclip_core.files.near_names import near_hint
from bioclip_core.hub import hub_file
from bioclip_core.identity import LFS_REMEDY, file_sha256, is_lfs_pointer, settings_id
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.model_config import CONFIG, read_config
from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD, Preprocessing, preprocessing_of

WEIGHTS = (
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pt",
)
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")

BIOCLIP_PREPROCESSING: Mapping[str, Any] = MappingProxyType(
    {"size": 224, "resize_mode": "squash", "interpolation": "bilinear", "mean": OPENAI_MEAN, "std": OPENAI_STD}
)
"""Preprocessing that pybioclip uses for the published BioCLIP models, whatever their folders say."""


@dataclass(frozen=True, slots=True)
class PublishedLabels:
    """A pair of TreeOfLife label files on the hub."""

    repository: str
    embeddings: str = "embeddings/txt_emb_species.npy"
    names: str = "embeddings/txt_emb_species.json"
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A short name for a model, with what a user must know about it. Plugins register more."""

    name: str
    source: str
    """``hf-hub:ORG/NAME``, ``local-dir:PATH`` or the path of a file."""
    description: str = ""
    licence: str = ""
    citation: str = ""
    revision: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Pinned parts of the preprocessing; they override the folder's own."""
    labels: PublishedLabels | None = None
    open_encoder: Callable[[Compute], Encoder] | None = None
    """For encoders that open_clip does not load; ``source`` is then their identity."""
    dimension: int | None = None
    """D of such an encoder, so that finished work is recognised without opening it."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model on this machine, not yet opened."""

    name: str
    """As the caller asked for it."""
    source: str
    revision: str
    weights_sha256: str
    preprocessing: Preprocessing
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """``model_cfg`` of open_clip; empty for a plugin's own encoder."""
    folder: Path | None = None
    weights: Path | None = None
    architecture: str | None = None
    """Name of an open_clip architecture, for weights without a config."""
    entry: ModelEntry | None = None

    @property
    def own_label_set(self) -> Path | None:
        """Folder of the label set that comes with the model, if there is one."""
        folder = self.folder / "label_set" if self.folder else None
        return folder if folder and (folder / "label_set.json").is_file() else None

    def config_id(self) -> str:
        """Return an id of what decides, beside the weights, what the model computes."""
        return settings_id({"config": dict(self.config), "architecture": self.architecture or ""})

    def identity(self) -> dict[str, str]:
        """Return what label sets and features depend on: the weights, with source and revision beside them."""
        return {"weights_sha256": self.weights_sha256, "source": self.source, "revision": self.revision}


def find_model(
    name: str,
    entries: Mapping[str, ModelEntry],
    *,
    exact: bool = False,
    fetch: bool = True,
    read_weights: bool = True,
) -> FoundModel:
    """Find a model by a registered name or by what open_clip loads; fetch it once if it is on the hub.

    Args:
        name: a registered name, ``hf-hub:ORG/NAME[@REVISION]``, ``local-dir:PATH``, a folder, a weight file with its
            config beside it, or ``ARCHITECTURE=FILE``.
        entries: the registry, by name.
        exact: decode images fully instead of at a fraction.
        fetch: allow to use the network.
        read_weights: read the weights for their sha256, and look up ARCHITECTURE. Without it the model is only known to be
            there: its sha256 is empty, and it cannot be opened.

    Raises:
        UnknownModel: if nothing of that name exists.
        ModelUnavailable: if the hub cannot be reached and the cache lacks a copy.
        ModelError: if a folder does not hold a model.
    """
    entry = entries.get(name)
    source = entry.source if entry else name
    search = _Search(name, entry, {"decode": "full"} if exact else {}, file_sha256 if read_weights else lambda _: "")
    if entry and entry.open_encoder:
        return FoundModel(
            name, source, entry.revision or "", settings_id({"source": source}),
            search.contract(entry.preprocessing.get("size", 224)),
            {"embed_dim": entry.dimension} if entry.dimension else {}, entry=entry,
        )  # fmt: skip
    if source.startswith("hf-hub:"):
        repository, _, revision = source.removeprefix("hf-hub:").partition("@")
        folder = _hub_folder(name, repository, revision or (entry.revision if entry else None), fetch=fetch)
        return search.in_folder(source, folder, revision=folder.name)
    if source.startswith("local-dir:"):
        return search.in_folder(source, with_home(source.removeprefix("local-dir:"), UnknownModel))
    if (found := search.in_place(source, read_weights=read_weights)) is not None:
        return found
    if name.startswith("timm:"):
        raise UnknownModel(
            f"model {name!r}: image encoders of timm are measured by `evaluate --suite` alone; give a CLIP model"
        )
    known = f"{listed(sorted(entries))}, " if entries else ""
    raise UnknownModel(
        f"model {name!r} is not known: use one of {known}hf-hub:ORG/NAME, local-dir:FOLDER, or the path of a weight file"
        f"{did_you_mean(name, entries)}"
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """The request of a caller, and the registry's entry for it."""

    name: str
    entry: ModelEntry | None
    options: Mapping[str, Any]
    sha256_of: Callable[[Path], str]

    def in_place(self, source: str, *, read_weights: bool) -> FoundModel | None:
        """Return the model of a folder, a weight file with its config beside it, or ARCHITECTURE=FILE; None if there is none."""
        path, architecture = with_home(source, UnknownModel), ""
        if "=" in source and not path.exists():  # a path may contain the sign too
            architecture, _, file_name = source.partition("=")
            path = with_home(file_name, UnknownModel)
        if path.is_dir():
            return self.in_folder(f"local-dir:{path}", path)
        if not path.is_file() or path.suffix not in _WEIGHT_SUFFIXES:
            return None
        if architecture and not read_weights:  # open_clip, which knows the architectures, imports torch
            return FoundModel(self.name, str(path), "", "", self.contract(224), weights=path, entry=self.entry)
        if architecture:
            return self.of_architecture(architecture, path)
        if (path.parent / CONFIG).is_file():
            return self.in_folder(str(path), path.parent, weights=path)
        raise ModelError(
            f"model {self.name!r}: {CONFIG} is not beside the file, so its architecture is unknown; write ARCHITECTURE={path}, "
            "for example ViT-B-16=weights.safetensors"
        )

    def contract(self, size: Any, folder: Mapping[str, Any] | None = None) -> Preprocessing:
        return preprocessing_of(
            size, folder=folder, registry=self.entry.preprocessing if self.entry else None, options=self.options
        )

    def in_folder(self, source: str, folder: Path, *, revision: str = "", weights: Path | None = None) -> FoundModel:
        if not folder.is_dir():
            raise UnknownModel(f"model {self.name!r}: the folder {folder} does not exist{near_hint(folder)}")
        model_cfg, preprocess_cfg = _read_config(self.name, folder / CONFIG)
        weights = weights or next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
        if weights is None:
            raise ModelError(f"model {self.name!r}: {folder} has no weights; expected one of {', '.join(WEIGHTS)}")
        if is_lfs_pointer(weights):
            raise ModelError(f"model {self.name!r}: {weights} {LFS_REMEDY}")
        try:
            contract = self.contract(model_cfg["vision_cfg"].get("image_size", 224), preprocess_cfg)
            _check_size(contract, model_cfg["vision_cfg"])
        except ModelError as error:
            raise ModelError(f"model {self.name!r}: {folder / CONFIG}: {error}") from None
        return FoundModel(
            self.name, source, revision, self.sha256_of(weights), contract, model_cfg, folder, weights, entry=self.entry
        )

    def of_architecture(self, architecture: str, path: Path) -> FoundModel:
        from open_clip import get_model_config, list_models

        config = get_model_config(architecture)
        if config is None:
            raise UnknownModel(
                f"model {self.name!r}: open_clip knows no architecture {architecture!r}; some that it knows: "
                f"{', '.join([m for m in list_models() if m.startswith('ViT')][:8])}"
            )
        return FoundModel(
            self.name, str(path), "", self.sha256_of(path), self.contract(config["vision_cfg"].get("image_size", 224)), config,
            weights=path, architecture=architecture, entry=self.entry,
        )  # fmt: skip


def _check_size(contract: Preprocessing, vision_cfg: Mapping[str, Any]) -> None:
    """Refuse a folder whose preprocessing makes images of another size than its own vision tower takes."""
    takes = vision_cfg.get("image_size", contract.size)
    is_other = contract.size not in (takes if isinstance(takes, list) else [takes])
    if is_other and contract.said_by.get("size") == "folder" and not vision_cfg.get("timm_model_name"):
        raise ModelError(
            f"preprocess_cfg makes images of {contract.size} pixels, but the vision tower takes {takes} (image_size)"
        )


def _read_config(name: str, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.exists():
        raise ModelError(f"model {name!r}: {path.parent} has no {CONFIG}, so it is not a folder that open_clip saved")
    return read_config(path, f"model {name!r}:")


def _hub_folder(name: str, repository: str, revision: str | None, *, fetch: bool) -> Path:
    """Return the folder of a hub model's snapshot, from the cache if it is there. Its name is the commit."""
    folder = hub_file(repository, CONFIG, revision=revision, fetch=fetch, as_given=name).parent
    if any((folder / weights).is_file() for weights in WEIGHTS):
        return folder
    # The weights must be of the config's commit, even if the branch has moved on since.
    with suppress(ModelUnavailable):
        return hub_file(repository, WEIGHTS[0], revision=folder.name, fetch=fetch, as_given=name).parent
    return hub_file(repository, WEIGHTS[2], revision=folder.name, fetch=fetch, as_given=name).parent
