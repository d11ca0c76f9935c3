"""YAML from outside: one reader without the surprises of YAML 1.1, ended by one readable line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

from bioclip_core.errors import DataError, InstallationError, first_line
from bioclip_core.files.documents import MAX_DEPTH
from bioclip_core.files.regular import open_regular

MAX_YAML_BYTES = 1024**2

_TRUTH = re.compile(r"true|True|TRUE|false|False|FALSE")
_WHOLE = re.compile(r"[-+]?[0-9][0-9_]*")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_NOTHING = re.compile(r"~|null|Null|NULL|")


def read_yaml(path: Path, *, name: str, error: type[Exception] = DataError) -> dict[str, Any]:
    """Return the content of a YAML file: a mapping of texts, numbers, truths, lists and mappings.

    ``no``, ``on``, dates and ``12:30`` are texts, as YAML 1.2 has it: ``no`` is a language too. Keys must be texts and unique;
    aliases and tags are refused.

    Args:
        path: the file.
        name: what the file is, as a message begins.
        error: the type of the error to raise.

    Raises:
        error: if the file cannot be read, is larger than 1 MB, or is not such a document.
        InstallationError: if PyYAML is missing.
    """
    try:
        import yaml
    except ImportError as fault:
        raise InstallationError(f"reading {path} needs PyYAML ({first_line(fault)}): pip install PyYAML") from fault
    shown = f"{name} {path}".strip()
    try:
        with open_regular(path) as file:
            data = file.read(MAX_YAML_BYTES + 1)
    except (OSError, ValueError) as fault:
        why = fault.strerror if isinstance(fault, OSError) and fault.strerror else fault
        raise error(f"{shown} cannot be read: {why}") from fault
    if len(data) > MAX_YAML_BYTES:
        raise error(f"{shown} has more than {MAX_YAML_BYTES:,} bytes, the limit for such a document")
    try:
        value = yaml.load(data.decode("utf-8-sig"), Loader=_loader())
    except UnicodeDecodeError:
        raise error(f"{shown} is not UTF-8: save it as UTF-8") from None
    except yaml.YAMLError as fault:
        raise error(f"{shown}{_why(fault)}") from None
    except RecursionError:
        raise error(f"{shown} is nested more than {MAX_DEPTH} deep") from None
    if value is None:
        raise error(f"{shown} is empty")
    if not isinstance(value, dict):
        raise error(
            f"{shown} is a {'list' if isinstance(value, list) else 'text'}: write names with values, such as output: folder"
        )
    return value


def _why(fault: Exception) -> str:
    mark = getattr(fault, "problem_mark", None)
    place = f", line {mark.line + 1}" if mark else ""
    if "found character '\\t'" in str(fault):
        return f"{place}: is indented with a tab: use blanks"
    problem = getattr(fault, "problem", None) or first_line(fault)
    return f"{place}: {problem}"


def _loader() -> type[Any]:
    """Return a loader of PyYAML's safe kind with the scalars of YAML 1.2, unique keys, and neither aliases nor tags."""
    import yaml

    def refuse(problem: str, mark: Any) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)

    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent):
                refuse(f"the alias *{event.anchor} is not supported: write it out", event.start_mark)
            if getattr(event, "tag", None):
                refuse(f"the tag {event.tag} is not supported: leave it out", event.start_mark)
            self.depth += 1
            if self.depth > MAX_DEPTH:
                refuse(f"it is nested more than {MAX_DEPTH} deep", event.start_mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: dict[str, int] = {}
            for key, value in node.value:
                if key.tag != "tag:yaml.org,2002:str":
                    name = getattr(key, "value", "")
                    is_rest = node.flow_style and value.start_mark.index == value.end_mark.index
                    if is_rest and key.tag.endswith((":int", ":float")):
                        refuse(
                            f"a comma before {name} ends the value: write numbers with a decimal point, and without marks of thousands",
                            key.start_mark,
                        )
                    refuse(f"the name {name!r} is not a text: put it in quotation marks", key.start_mark)
                if key.value in seen:
                    refuse(
                        f"{key.value!r} is given twice, first in line {seen[key.value]}: give it once", key.start_mark
                    )
                seen[key.value] = key.start_mark.line + 1
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("bool", _TRUTH, "tTfF"),
        ("int", _WHOLE, "-+0123456789"),
        ("float", _NUMBER, "-+.0123456789"),
        ("null", _NOTHING, ["~", "n", "N", ""]),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern.pattern})\Z"), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value.replace("_", "")))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))
    return Loader
