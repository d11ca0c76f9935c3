"""Models on this machine: whole, with the hash that was recorded, and with a label set that belongs to them. Needs no network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError, LabelSetError, ModelUnavailable
from bioclip_core.identity import user_cache
from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of, size_of
from bioclip_plugin.doctor.disks import hub_cache
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.plugin_loading import load_installed
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Step

if TYPE_CHECKING:
    from bioclip_core.models import FoundModel, ModelEntry

_SHA256 = re.compile(r"[0-9a-f]{64}")


def look(options: DoctorOptions, without: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield the state of each known model, and of the asked one."""
    from bioclip_plugin.plugins import create_plugin_manager

    yield Fact("cache", str(user_cache()))
    yield Fact("hub_cache", str(hub_cache()))
    yield Fact("hub_offline", is_offline())
    manager, states = create_plugin_manager(installed=False), dict[str, str]()
    own = manager.models()
    yield from _looked_at(list(own), own, options, without, states)
    yield from load_installed(manager, without)  # after the models of ours, which a plugin may break
    yield Step("asking the plugins for their models")
    entries = manager.models()
    yield from _looked_at([*entries, options.model], entries, options, without, states)
    yield Fact("models", states)
    yield from _half_fetched()


def _looked_at(
    names: list[str],
    entries: dict[str, ModelEntry],
    options: DoctorOptions,
    without: frozenset[str],
    states: dict[str, str],
) -> Iterator[Finding]:
    """Yield what is wrong with models that were not looked at yet, and the states of all so far."""
    from bioclip_plugin.items.request import DEFAULT_MODEL

    for name in dict.fromkeys(names):
        if name in states:
            continue
        if name in without:
            states[name] = "cannot be read"
            continue
        yield Step(f"reading the model {name}", name, True, f"models.no-answer.{name}")
        states[name] = "there"
        for problem in _faults(name, entries, options):
            states[name] = problem.code.split(".")[1].replace("-", " ")
            is_wanted = name in (DEFAULT_MODEL, options.model)
            if problem.code.startswith("models.not-fetched") and not (is_offline() and is_wanted):
                continue
            yield problem
        yield Fact("models", dict(states))


def _faults(name: str, entries: dict[str, ModelEntry], options: DoctorOptions) -> Iterator[Problem]:
    from bioclip_core.models import find_model

    fetch = command("models fetch", name)
    try:
        found = find_model(name, entries, fetch=False, read_weights=not options.no_model)
    except ModelUnavailable:
        if (part := _part_of(name, entries)) is not None:
            yield Problem(
                f"models.half-fetched.{name}", f"only a part of the model {name} is on this machine ({part})",
                "it is fetched again where there is network, and refused where there is none", f"go on with it: {fetch}", grave=False,
            )  # fmt: skip
            return
        offline = ", and HF_HUB_OFFLINE is set" if is_offline() else ""
        yield Problem(
            f"models.not-fetched.{name}", f"the model {name} is not on this machine{offline}", "commands with it are refused",
            f"fetch it once, with network{' and without HF_HUB_OFFLINE' if offline else ''}: {fetch}",
        )  # fmt: skip
        return
    except OSError as error:
        yield Problem(
            f"models.unreadable.{name}", f"the model {name} cannot be read: {error.strerror or error}: {error.filename}",
            "commands with it are refused", "give yourself the right to read it, or name another folder in the variable HF_HUB_CACHE",
        )  # fmt: skip
        return
    except BioclipError as error:
        yield Problem(
            f"models.unusable.{name}",
            str(error),
            "commands with it are refused",
            f"if it is of a hub, fetch it again: {fetch}",
        )
        return
    if not options.no_model:
        yield from _other_bytes(name, found, fetch)
        yield from _wrong_labels(name, found)


def _part_of(name: str, entries: dict[str, ModelEntry]) -> str | None:
    """Return the folder of a model of a hub that is here although it is not whole."""
    source = entries[name].source if name in entries else name
    repository = source.removeprefix("hf-hub:").partition("@")[0]
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    return str(folder) if source.startswith("hf-hub:") and any(folder.glob("snapshots/*/*")) else None


def _other_bytes(name: str, found: FoundModel, fetch: str) -> Iterator[Problem]:
    """Yield a problem for weights of a hub whose bytes differ from its record: the hub's client names them by their sha256."""
    if found.weights is None or not found.source.startswith("hf-hub:"):
        return
    recorded = found.weights.resolve().name
    if _SHA256.fullmatch(recorded) and recorded != found.weights_sha256:
        yield Problem(
            f"models.other-bytes.{name}",
            f"the weights of {name} have the sha256 {found.weights_sha256[:12]}…, but {recorded[:12]}… is recorded",
            "the file is damaged or was changed, and answers with it are worth nothing",
            f"remove {found.weights.resolve()}, then: {fetch}",
        )


def _wrong_labels(name: str, found: FoundModel) -> Iterator[Problem]:
    from bioclip_core.labels.manifest import check_made_for, read_manifest
    from bioclip_plugin.running.label_choice import label_folder_here

    folder = label_folder_here(found)
    if folder is None:
        return
    try:
        _, manifest = read_manifest(folder)
        check_made_for(manifest.encoder, found.identity(), folder)
    except LabelSetError as error:
        yield Problem(
            f"models.labels.{name}", str(error), "commands with this model are refused unless --labels is given",
            f"remove the folder {folder}, then: {command('models fetch', name)}",
        )  # fmt: skip


def _half_fetched() -> Iterator[Problem]:
    """Yield downloads that did not end."""
    try:
        left = sorted(hub_cache().glob("*--*/blobs/*.incomplete"))
        left += sorted(path for path in (user_cache() / "label_sets").glob(".*.part"))
    except OSError:
        return
    if left:
        size = sum(path.stat().st_size for path in left if path.is_file())
        repository = left[0].parent.parent.name.replace("models--", "", 1).replace("--", "/")
        yield Problem(
            "models.half-fetched",
            f"{number_of(len(left), 'download')} did not end ({size_of(size)}); the first is of {repository}",
            "the model is not whole",
            f"go on with it, with network: {command('models fetch', f'hf-hub:{repository}')}",
            grave=False,
        )


def is_offline() -> bool:
    """Return True if the hub's client is kept off the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
