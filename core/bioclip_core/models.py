"""Finding a model: from a name, a folder, a file or a hub to its config, weights and identity; imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import ModelError, ModelUnavailable, UnknownModel
from bioclip_core.identity import file_sha256, settings_id
from bioclip_core.preprocessing import Preprocessing, preprocessing_of

if TYPE_CHECKING:
    from bioclip_core.device import Compute
    from bioclip_core.encoder import Encoder

CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pt",
)
_PROBE_TIMEOUT_S = 5.0
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")

# What pybioclip does to an image for the published BioCLIP models, whatever their folders say.
BIOCLIP_PREPROCESSING: Mapping[str, Any] = MappingProxyType(
    {"size": 224, "resize_mode": "squash", "interpolation": "bilinear", "mean": (0.48145466, 0.4578275, 0.40821073),
     "std": (0.26862954, 0.26130258, 0.27577711)}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublishedLabels:
    """A TreeOfLife label file pair on the hub."""

    repository: str
    embeddings: str = "embeddings/txt_emb_species.npy"
    names: str = "embeddings/txt_emb_species.json"
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A short name for a model, with what a user must know of it. Plugins register more."""

    name: str
    source: str
    """``hf-hub:ORG/NAME``, ``local-dir:PATH`` or the path of a file."""
    description: str = ""
    licence: str = ""
    citation: str = ""
    revision: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Pinned parts of the contract; they win over the folder's own."""
    labels: PublishedLabels | None = None
    open_encoder: Callable[[Compute], Encoder] | None = None
    """For encoders that open_clip does not load; ``source`` is then their identity."""
    dimension: int | None = None
    """D of such an encoder, so that finished work is recognised without opening it."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model on this machine, not yet opened."""

    name: str
    """As it was asked for."""
    source: str
    revision: str
    weights_sha256: str
    preprocessing: Preprocessing
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """``model_cfg`` of open_clip; empty for an encoder of a plugin's own."""
    folder: Path | None = None
    weights: Path | None = None
    architecture: str | None = None
    """A name that open_clip knows, where the weights came without a config."""
    entry: ModelEntry | None = None

    @property
    def own_label_set(self) -> Path | None:
        """The label set that the model's folder carries, if it does."""
        folder = self.folder / "label_set" if self.folder else None
        return folder if folder and (folder / "label_set.json").is_file() else None

    def identity(self) -> dict[str, str]:
        """What label sets and features are tied to: the weights, with source and revision beside them."""
        return {"weights_sha256": self.weights_sha256, "source": self.source, "revision": self.revision}


def find_model(name: str, entries: Mapping[str, ModelEntry], *, exact: bool = False, fetch: bool = True) -> FoundModel:
    """Find a model by a registered name or by what open_clip loads; fetch it once if it is on the hub.

    Args:
        name: a registered name, ``hf-hub:ORG/NAME[@REVISION]``, ``local-dir:PATH``, a folder, a weight file with its
            config beside it, or ``ARCHITECTURE=FILE``.
        entries: the registry, by name.
        exact: decode images fully instead of at a fraction.
        fetch: whether the network may be asked.

    Raises:
        UnknownModel: if nothing of that name exists.
        ModelUnavailable: if the hub is out of reach and the cache has no copy.
        ModelError: if a folder is not a model's.
    """
    entry = entries.get(name)
    source = entry.source if entry else name
    options = {"decode": "full"} if exact else {}
    if entry and entry.open_encoder:
        contract = preprocessing_of(
            int(entry.preprocessing.get("size", 224)), registry=entry.preprocessing, options=options
        )
        config = {"embed_dim": entry.dimension} if entry.dimension else {}
        return FoundModel(
            name, source, entry.revision or "", settings_id({"source": source}), contract, config, entry=entry
        )
    if source.startswith("hf-hub:"):
        repository, _, revision = source.removeprefix("hf-hub:").partition("@")
        folder, revision = _hub_folder(repository, revision or (entry.revision if entry else None), fetch=fetch)
        return _from_folder(name, source, folder, entry, options, revision=revision)
    if source.startswith("local-dir:"):
        return _from_folder(name, source, Path(source.removeprefix("local-dir:")).expanduser(), entry, options)
    return _from_path(name, source, entries, options)


def _from_path(name: str, source: str, entries: Mapping[str, ModelEntry], options: Mapping[str, Any]) -> FoundModel:
    entry = entries.get(name)
    path, architecture = Path(source).expanduser(), ""
    if "=" in source and not path.exists():  # a path may have the sign in it too
        architecture, _, file_name = source.partition("=")
        path = Path(file_name).expanduser()
    if path.is_dir():
        return _from_folder(name, f"local-dir:{path}", path, entry, options)
    if path.is_file() and path.suffix in _WEIGHT_SUFFIXES:
        if (path.parent / CONFIG).is_file() and not architecture:
            return _from_folder(name, str(path), path.parent, entry, options, weights=path)
        if not architecture:
            raise ModelError(
                f"model {name!r}: {CONFIG} is not beside the file, so its architecture is unknown; write ARCHITECTURE={path}, "
                "for example ViT-B-16=weights.safetensors"
            )
        return _from_bare_weights(name, architecture, path, entry, options)
    known = "".join(f"{entry_name}, " for entry_name in sorted(entries))
    raise UnknownModel(
        f"model {name!r} is not known: use one of {known}hf-hub:ORG/NAME, local-dir:FOLDER, or the path of a weight file"
    )


def _from_folder(
    name: str,
    source: str,
    folder: Path,
    entry: ModelEntry | None,
    options: Mapping[str, Any],
    *,
    revision: str = "",
    weights: Path | None = None,
) -> FoundModel:
    if not folder.is_dir():
        raise UnknownModel(f"model {name!r}: the folder {folder} does not exist")
    config = _read_config(name, folder / CONFIG)
    weights = weights or next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise ModelError(f"model {name!r}: {folder} has no weights; expected one of {', '.join(WEIGHTS)}")
    size = config["model_cfg"].get("vision_cfg", {}).get("image_size", 224)
    pinned = entry.preprocessing if entry else None
    contract = preprocessing_of(_side(size), folder=config.get("preprocess_cfg"), registry=pinned, options=options)
    return FoundModel(
        name=name, source=source, revision=revision, weights_sha256=file_sha256(weights), preprocessing=contract,
        config=config["model_cfg"], folder=folder, weights=weights, entry=entry,
    )  # fmt: skip


def _from_bare_weights(
    name: str, architecture: str, path: Path, entry: ModelEntry | None, options: Mapping[str, Any]
) -> FoundModel:
    from open_clip import get_model_config, list_models

    config = get_model_config(architecture)
    if config is None:
        raise UnknownModel(
            f"model {name!r}: open_clip knows no architecture {architecture!r}; some that it knows: "
            f"{', '.join([m for m in list_models() if m.startswith('ViT')][:8])}"
        )
    pinned = entry.preprocessing if entry else None
    contract = preprocessing_of(_side(config["vision_cfg"].get("image_size", 224)), registry=pinned, options=options)
    return FoundModel(
        name=name, source=str(path), revision="", weights_sha256=file_sha256(path), preprocessing=contract, config=config,
        weights=path, architecture=architecture, entry=entry,
    )  # fmt: skip


def _side(size: Any) -> int:
    return int(size[0] if isinstance(size, (list, tuple)) else size)


def _read_config(name: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"model {name!r}: {path.parent} has no {CONFIG}, so it is not a folder that open_clip saved"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name!r}: {path} cannot be read ({error})") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise ModelError(f"model {name!r}: {path} has no model_cfg, so it is not a folder that open_clip saved")
    return config


def _hub_folder(repository: str, revision: str | None, *, fetch: bool) -> tuple[Path, str]:
    """The folder of a hub model's snapshot, from the cache where it is there; its name is the commit."""
    config = hub_file(repository, CONFIG, revision=revision, fetch=fetch)
    commit = config.parent.name  # the weights are of the config's commit, also where the branch has moved on since
    if not any((config.parent / weights).is_file() for weights in WEIGHTS):
        last: ModelError | None = None
        for weights in (WEIGHTS[0], WEIGHTS[2]):
            try:
                hub_file(repository, weights, revision=commit, fetch=fetch)
                break
            except ModelUnavailable as error:
                last = error
        else:
            raise last or ModelUnavailable(f"{repository} has no weights that open_clip reads")
    return config.parent, commit


def hub_file(
    repository: str, filename: str, *, revision: str | None = None, kind: str = "model", fetch: bool = True
) -> Path:
    """One file of a hub repository: the cached copy, else fetched; ``HF_HUB_OFFLINE`` is honoured.

    Raises:
        ModelUnavailable: in one line, if it is neither cached nor to be had.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, filename, revision=revision, repo_type=kind)
    if isinstance(cached, str):
        return Path(cached)
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    if offline or not fetch:
        why = "HF_HUB_OFFLINE is set" if offline else "fetching is switched off"
        raise ModelUnavailable(
            f"{filename} of {repository} is not in this machine's cache and {why}; fetch it once where there is network: "
            f"bioclip-plugin models fetch hf-hub:{repository}"
        )
    if not _hub_answers():
        raise ModelUnavailable(_out_of_reach(repository, filename, "no connection"))
    try:
        return Path(hf_hub_download(repository, filename, revision=revision, repo_type=kind))
    except Exception as error:  # the hub client raises its own, requests', and the operating system's errors
        raise ModelUnavailable(_hub_failure(repository, filename, error)) from None


def _hub_failure(repository: str, filename: str, error: Exception) -> str:
    from huggingface_hub import errors

    cause = " ".join(str(error).split())[:160] or type(error).__name__
    if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        return f"the hub has no {repository} of that revision, or it is private (set HF_TOKEN): {cause}"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"{repository} on the hub has no file {filename}"
    return _out_of_reach(repository, filename, type(error).__name__)


def _out_of_reach(repository: str, filename: str, why: str) -> str:
    return (
        f"the model hub could not be reached for {filename} of {repository} ({why}); check the network, or fetch it elsewhere "
        f"(bioclip-plugin models fetch hf-hub:{repository}) and copy the hub's cache folder, or use --model demo"
    )


def _hub_answers() -> bool:
    """Whether the hub takes a connection; its client would try for half a minute and say so on every attempt."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub.constants import ENDPOINT

    if getproxies():  # the proxy decides, and it may know hosts that this machine cannot look up
        return True
    address = urlsplit(ENDPOINT)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=_PROBE_TIMEOUT_S):
            return True
    except OSError:
        return False
