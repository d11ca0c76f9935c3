"""Files of the Hugging Face hub: from this machine's cache, else fetched once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import signature
from pathlib import Path
from typing import Any

from bioclip_core.errors import ModelUnavailable, UnknownModel, first_line
from bioclip_core.next_commands import command
from bioclip_core.process.quiet import quiet

_PROBE_TIMEOUT_S = 5.0
_shows_progress: ContextVar[bool] = ContextVar("_shows_progress", default=False)


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show the hub client's progress bars on standard error while files are fetched, as the command line does."""
    token = _shows_progress.set(True)
    try:
        yield
    finally:
        _shows_progress.reset(token)


def hub_file(
    repository: str,
    filename: str,
    *,
    revision: str | None = None,
    kind: str = "model",
    fetch: bool = True,
    as_given: str = "",
    instead: str = "use --model demo",
) -> Path:
    """Return one file of a hub repository: the cached copy, else a fetched one.

    Args:
        repository: ``ORG/NAME``.
        filename: path of the file in the repository.
        revision: branch, tag or commit; None means the main branch.
        kind: kind of repository, as the hub calls it.
        fetch: allow to use the network. The environment variable ``HF_HUB_OFFLINE`` forbids it too.
        as_given: name that ``models fetch`` takes for it; empty for ``hf-hub:ORG/NAME``.
        instead: another way where the hub cannot be reached; empty for none.

    Raises:
        ModelUnavailable: if the file is not cached and cannot be fetched; the text is one line.
        UnknownModel: for a name that no repository can have.
    """
    if (cached := _cached(repository, filename, revision, kind)) is not None:
        return cached
    fetching = command("models fetch", as_given or f"hf-hub:{repository}")
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    if offline or not fetch:
        why = "HF_HUB_OFFLINE is set" if offline else "fetching is switched off"
        raise ModelUnavailable(
            f"{filename} of {repository} is not in this machine's cache and {why}; fetch it once where there is network: "
            f"{fetching}"
        )
    fetched = _fetched(repository, filename, revision, kind) if _hub_answers() else "no connection"
    if isinstance(fetched, Path):
        return fetched
    raise ModelUnavailable(
        f"the model hub could not be reached for {filename} of {repository} ({fetched}); check the network, or fetch it elsewhere "
        f"({fetching}) and copy the hub's cache folder{f', or {instead}' if instead else ''}"
    )


def _cached(repository: str, filename: str, revision: str | None, kind: str) -> Path | None:
    """Return the cached copy of a file; None without one.

    Raises:
        UnknownModel: for a name that no repository can have.
    """
    with quiet():
        from huggingface_hub import errors, try_to_load_from_cache

        try:
            cached = try_to_load_from_cache(repository, filename, revision=revision, repo_type=kind)
        except (errors.HFValidationError, OSError, ValueError) as error:
            raise UnknownModel(
                f"the model hub cannot have a repository {repository!r}: {first_line(error)}; give it as hf-hub:ORG/NAME"
            ) from None
    return Path(cached) if isinstance(cached, str) else None


def _fetched(repository: str, filename: str, revision: str | None, kind: str) -> Path | str:
    """Fetch a file, and return its path, or the reason why the hub could not be reached.

    Raises:
        ModelUnavailable: if the hub has no such repository or file.
    """
    with quiet():
        from huggingface_hub import errors, hf_hub_download

        try:
            bars = {} if _shows_progress.get() else _no_bars(hf_hub_download)
            return Path(hf_hub_download(repository, filename, revision=revision, repo_type=kind, **bars))
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise ModelUnavailable(
                f"the hub has no {repository} of that revision, or it is private (set HF_TOKEN): {' '.join(str(error).split())[:160]}"
            ) from None
        except Exception as error:  # the hub client raises its own, requests', and the operating system's errors
            if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
                raise ModelUnavailable(f"{repository} on the hub has no file {filename}") from None
            return type(error).__name__


def _no_bars(download: Any) -> dict[str, Any]:
    """Return the argument that fetches without a progress bar; an older client than 1.0 takes none."""
    if "tqdm_class" not in signature(download).parameters:
        return {}
    from tqdm import tqdm  # type: ignore[import-untyped]

    class NoBar(tqdm):  # type: ignore[misc]
        def __init__(self, *given: Any, **named: Any) -> None:
            named.pop("name", None)
            super().__init__(*given, **{**named, "disable": True})

    return {"tqdm_class": NoBar}


def _hub_answers() -> bool:
    """True if the hub takes a connection. Its own client would try for half a minute and log every attempt."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub.constants import ENDPOINT

    if getproxies():  # the proxy decides, and it may know hosts that this machine cannot look up
        return True
    try:
        address = urlsplit(ENDPOINT)
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=_PROBE_TIMEOUT_S):
            return True
    except (OSError, ValueError):  # ValueError: HF_ENDPOINT is no address
        return False
