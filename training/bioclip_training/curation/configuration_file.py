"""The YAML file of a curation: read, and written as a commented example."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any, get_args, get_origin, get_type_hints

from bioclip_core.errors import UsageError
from bioclip_core.files.yaml_documents import read_yaml
from bioclip_core.next_commands import command
from bioclip_core.option_documents import filled_section
from bioclip_core.options import help_of
from bioclip_training.curation.configuration import Curation

_WIDTH = 110
_GIVEN: Mapping[str, str] = {
    "output": "tree_of_life",
    "sources.path": "collections/inat21",
    "evaluation_sets.path": "evaluation/rare_species",
}
"""Values in the example of what has no default; a configuration has to state them."""
_NAMED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "sources": ("inat21", {"layout": "inat21"}),
    "filters": ("empty", {"kind": "empty-frames", "files": "{detections: detections.json}", "exclude_from": "0.9"}),
    "evaluation_sets": ("rare_species", {"suite": "rare-species", "taxa": "exclude"}),
}
"""A name and values for the example of each section of named entries."""
_SHOWN = {
    "sources.rows": "2686843",
    "taxonomy": "checklist.taxonomy",
    "names.common_names": "[vernacular_names.csv]",
    "splits.unseen_species": "unseen_species.txt",
    "memory": "4 GB",
}
"""Values in the example of fields whose default says little."""


def read_configuration(file: Path) -> Curation:
    """Return the configuration that a YAML file states; relative paths are relative to its folder.

    Raises:
        DataError: if the file cannot be read, or is not YAML.
        UsageError: for an unknown name, a missing one, or a value that is not allowed.
    """
    if not file.exists() and not file.is_symlink():
        raise UsageError(
            f"the configuration {file} does not exist; write one with: {command('curate', file, example=True)}"
        )
    return filled_section(Curation, read_yaml(file, name="configuration"), file=file)


def example() -> str:
    """Return a configuration with every field, its help and its default."""
    head = [
        "# Configuration of `bioclip-plugin curate`. Lines with one # and a value show defaults and may be left as they are.",
        "# Relative paths are relative to the folder of this file.",
        "",
    ]
    return "\n".join([*head, *_section(Curation, "", "")]) + "\n"


def _section(kind: type, place: str, indent: str, shown: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the lines of a section; ``shown`` has values to write in place of defaults."""
    helps, hints = help_of(kind), get_type_hints(kind)
    for entry in fields(kind):
        where = f"{place}.{entry.name}" if place else entry.name
        yield from (f"{indent}# {line}" for line in wrap(helps[entry.name], _WIDTH - len(indent)))
        hint = hints[entry.name]
        if is_dataclass(hint):
            yield f"{indent}{entry.name}:"
            yield from _section(hint, where, indent + "  ")  # type: ignore[arg-type]
        elif where in _NAMED:
            yield from _named(entry.name, get_args(hint)[1], indent)
        else:
            value = (shown or {}).get(entry.name) or _GIVEN.get(where)
            mark = "" if value or (not indent.strip() and entry.name == "output") else "# "
            yield f"{indent}{mark}{entry.name}: {value or _SHOWN.get(where) or _default(entry, hint)}"
        if not indent:
            yield ""


def _named(name: str, kind: type, indent: str) -> Iterator[str]:
    """Yield a section of named entries, with one entry; sections that may be missing are comments."""
    entry, shown = _NAMED[name]
    required = name == "sources"
    lines = [f"{name}:", f"  {entry}:", *_section(kind, name, "    ", shown)]
    yield from (f"{indent}{line}" if required else f"{indent}# {line}" for line in lines)


def _default(entry: Field[Any], hint: Any) -> str:
    default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
    if default is None:
        return f" # {entry.metadata['automatic']}" if "automatic" in entry.metadata else ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]"
    if isinstance(default, Mapping):
        return "{}"
    if isinstance(hint, types.UnionType) or get_origin(hint) is not None or not isinstance(default, str):
        return str(default)
    return default or '""'
