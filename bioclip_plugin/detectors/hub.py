"""The detector's file of a published SpeciesNet model: from Kaggle, the Hugging Face hub or the address in its ``info.json``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from bioclip_core.errors import DataError, ModelError, ModelUnavailable, UnknownModel, first_line, raise_if_of_host
from bioclip_core.files.documents import convert_document, read_document
from bioclip_core.files.whole import replacing_file
from bioclip_core.hub import hub_file
from bioclip_core.identity import read_cache, settings_id
from bioclip_core.next_commands import command
from bioclip_core.process.quiet import importing, quiet
from bioclip_plugin.detectors.trust import (
    MOST_BYTES,
    check_beginning,
    confirm,
    folder_of_detectors,
    sha256_of_checkpoint,
    write_record,
)

KAGGLE, HUGGING_FACE = "kaggle:", "hf:"
INFO = "info.json"

_RECORD = "fetched.json"
_CHUNK = 1 << 20
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Fetched:
    """A checkpoint that was fetched, as its record beside it says."""

    file: str
    sha256: str
    bytes: int
    source: str
    revision: str
    fetched: str

    @property
    def path(self) -> Path:
        """The checkpoint in the user's cache."""
        return folder_of(self.source) / self.file


@dataclass(frozen=True)
class Info:
    """The part of a model's ``info.json`` that matters here."""

    detector: str
    version: str = ""


def is_published(place: str) -> bool:
    """True for the name of a published model, as the package writes it."""
    return place.startswith((KAGGLE, HUGGING_FACE))


def folder_of(source: str) -> Path:
    """Return the folder of a source's checkpoint in the user's cache."""
    return folder_of_detectors() / "speciesnet" / settings_id({"source": source})[:16]


def fetched_from(source: str) -> Fetched | None:
    """Return the record of the checkpoint that was fetched from a source; None without one."""
    try:
        return convert_document(read_cache(folder_of(source) / _RECORD), Fetched, name=_RECORD)
    except DataError:
        return None


def file_in_folder(folder: Path) -> Path:
    """Return the detector's file in a folder in the format of published models.

    Raises:
        ModelError: if its ``info.json`` names none, or one outside the folder.
    """
    info = read_document(folder / INFO, Info, name="model", error=ModelError)
    name = info.detector
    if _is_address(name):  # the package keeps a fetched file under this name
        name = name.split("?")[0].replace(":", "_").replace("/", "_")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"model {folder / INFO}: detector {name!r} is outside the folder")
    return path


def _file_name_of(address: str) -> str:
    """Return the name of the file at an address; empty for one that cannot be read."""
    try:
        return PurePosixPath(urlsplit(address).path).name
    except ValueError:  # [ in the wrong place
        return ""


def fetch_from(source: str) -> Fetched:
    """Fetch the detector of a published model into the user's cache, and confirm its sha256. A whole copy is kept.

    Raises:
        ModelUnavailable: if it cannot be fetched.
        ModelError: if the model names no detector, or its file is not the one that was recorded earlier.
    """
    earlier = fetched_from(source)
    if earlier and earlier.path.is_file() and sha256_of_checkpoint(earlier.path) == earlier.sha256:
        confirm(earlier.sha256, earlier.file, f"fetched from {source}")
        return earlier
    hub = _Kaggle(source) if source.startswith(KAGGLE) else _HuggingFace(source)
    info = read_document(hub.file(INFO), Info, name=f"model {source}:", error=ModelError)
    folder = folder_of(source)
    name = _file_name_of(info.detector) if _is_address(info.detector) else Path(info.detector).name
    if not name or name == _RECORD:
        raise ModelError(f"model {source}: {INFO} names the detector {info.detector!r}, which is not a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing_file(folder / name) as draft:
            if _is_address(info.detector):
                sha256, size = _download(info.detector, draft)
            else:
                sha256, size = _copy(hub.file(info.detector), draft)
            _check_same(source, earlier, sha256)
    except OSError as error:
        raise ModelUnavailable(f"{folder / name} cannot be written: {error.strerror or error}") from None
    record = Fetched(name, sha256, size, source, hub.revision or info.version, _now())
    write_record(folder / _RECORD, asdict(record))
    confirm(sha256, name, f"fetched from {source}")
    return record


def _check_same(source: str, earlier: Fetched | None, sha256: str) -> None:
    if earlier and earlier.sha256 != sha256:
        raise ModelError(
            f"the detector of {source} has the sha256 {sha256}, but {earlier.sha256} was recorded when it was fetched on "
            f"{earlier.fetched[:10]}: it was replaced. To take the new one, remove the folder {folder_of(source)} first"
        )


# -- hubs --------------------------------------------------------------------------------------------------------------


class _HuggingFace:
    """A repository of the Hugging Face hub."""

    def __init__(self, source: str) -> None:
        self._as_given = f"speciesnet:{source}"
        self._repository, _, revision = source.removeprefix(HUGGING_FACE).partition("@")
        self.revision = revision

    def file(self, name: str) -> Path:
        path = hub_file(self._repository, name, revision=self.revision or None, as_given=self._as_given, instead="")
        self.revision = _snapshot(path, name)
        return path


def _snapshot(path: Path, name: str) -> str:
    """Return the commit of a file of the hub's cache: the folder below which it lies, so that all files are of one commit."""
    return path.parents[len(PurePosixPath(name).parts) - 1].name


class _Kaggle:
    """A model of Kaggle, which keeps each version under a number."""

    def __init__(self, source: str) -> None:
        self._source, self._handle = source, source.removeprefix(KAGGLE)
        self.revision = self._handle.rpartition("/")[2]

    def file(self, name: str) -> Path:
        with importing():
            import kagglehub
            from kagglehub.cache import Cache
            from kagglehub.handle import parse_model_handle
        try:
            handle = parse_model_handle(self._handle)
        except ValueError as error:
            raise UnknownModel(f"{self._source} cannot be the name of a model on Kaggle: {first_line(error)}") from None
        with quiet():
            for of in (name, None):  # of this file, or of the whole model as the package itself fetches it
                folder = Cache().load_from_cache(handle, of)
                kept = Path(folder, name if of is None else "") if folder else None
                if kept is not None and kept.is_file():
                    return kept
        _check_online(f"{name} of {self._source}")
        try:
            with quiet():
                return Path(kagglehub.model_download(self._handle, path=name))
        except Exception as error:  # its own errors, those of requests and of the operating system
            raise_if_of_host(error)
            raise _not_fetched(f"{name} of {self._source}", error) from None


def _check_online(wanted: str) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise ModelUnavailable(
            f"{wanted} is not on this machine and HF_HUB_OFFLINE is set; fetch it where there is network, copy the file, and "
            f"confirm it here: {command('models trust', 'FILE', sha256='HASH')}"
        )


def _not_fetched(wanted: str, error: Exception) -> ModelUnavailable:
    is_network = type(error).__name__ in ("ConnectionError", "ConnectTimeout", "ProxyError")  # with half a page of text
    reason = "no connection" if is_network else first_line(error)
    return ModelUnavailable(
        f"{wanted} could not be fetched ({reason}); check the network, or get the checkpoint elsewhere and confirm it: "
        f"{command('models trust', 'FILE', sha256='HASH')}"
    )


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _download(address: str, draft: Path) -> tuple[str, int]:
    """Write what an address gives to a file; return its sha256 and size."""
    _check_online(address)
    if not address.startswith("https://"):
        raise ModelError(
            f"the detector's address {address} is not https: anybody on the way could replace the checkpoint"
        )
    with importing():
        import requests
    try:
        with quiet(), requests.get(address, stream=True, timeout=_TIMEOUT_S) as answer:
            answer.raise_for_status()
            for step in (*answer.history, answer):
                if not step.url.startswith("https://"):
                    raise ModelUnavailable(f"{address} leads to {step.url}, which is not https")
            chunks = answer.iter_content(_CHUNK)
            made = _written(lambda: next(chunks, b""), draft, address)
            announced = answer.headers.get("Content-Length", "")
    except requests.RequestException as error:
        raise _not_fetched(address, error) from None
    if announced.isdigit() and "Content-Encoding" not in answer.headers and int(announced) != made[1]:
        raise ModelUnavailable(f"{address} gave {made[1]:,} bytes of {int(announced):,}; give the command again")
    return made


def _copy(file: Path, draft: Path) -> tuple[str, int]:
    with file.open("rb") as source:
        return _written(lambda: source.read(_CHUNK), draft, str(file))


def _written(read: Callable[[], bytes], draft: Path, source: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with draft.open("wb") as file:
        while chunk := read():
            if size == 0:
                check_beginning(chunk, source)
            size += len(chunk)
            if size > MOST_BYTES:
                raise ModelUnavailable(f"{source} has more than {MOST_BYTES:,} bytes, which no checkpoint has")
            digest.update(chunk)
            file.write(chunk)
    if size == 0:
        check_beginning(b"", source)
    return digest.hexdigest(), size


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
