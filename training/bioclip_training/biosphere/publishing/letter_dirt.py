"""Dirt in the characters of a written name: one function per kind, each of which returns None if there is nothing to spoil."""

from __future__ import annotations

from collections.abc import Callable

from bioclip_training.biosphere.publishing.statements import Writer

Spoil = Callable[[Writer, str], str | None]

_ENTITIES = {"ü": "&uuml;", "ö": "&ouml;", "é": "&eacute;", "ä": "&auml;", "&": "&amp;", "×": "&times;"}


def _tags(writer: Writer, name: str) -> str | None:
    genus, _, rest = name.partition(" ")
    epithet, _, authors = rest.partition(" ")
    tag = writer.choose(("i", "em", "b"))
    return f"<{tag}>{f'{genus} {epithet}'.strip()}</{tag}>{' ' if authors else ''}{authors}"


def _entities(writer: Writer, name: str) -> str | None:
    if any(letter in name for letter in _ENTITIES):
        return "".join(_ENTITIES.get(letter, letter) for letter in name)
    return name.replace(" ", "&nbsp;", 1) if " " in name else None


def _case(writer: Writer, name: str) -> str | None:
    how = int(writer.rng.integers(3))
    genus, _, rest = name.partition(" ")
    if " " in rest and how:  # with authors, small letters would leave nothing that tells them from a third name
        return None
    return (name.upper(), name.lower(), f"{genus} {rest[:1].upper()}{rest[1:]}".strip())[how]


def _mojibake(writer: Writer, name: str) -> str | None:
    if name.isascii():
        if name.count(" ") != 1:
            return None
        author = writer.choose([one for one in writer.tree.authors if not one.isascii()])
        name = f"{name} {author}, {int(writer.rng.integers(1800, 2010))}"
    return name.encode("utf-8").decode("cp1252")


def _spaces(writer: Writer, name: str) -> str | None:
    return (f" {name}", f"{name} ", f"{name}  ", name.replace(" ", "  ", 1))[int(writer.rng.integers(4))]


def _no_break(writer: Writer, name: str) -> str | None:
    return name.replace(" ", "\xa0", 1) if writer.rng.random() < 0.7 else f"{name}\xa0"


def _invisible(writer: Writer, name: str) -> str | None:
    letter, at = writer.choose(("\u200b", "\ufeff", "\xad")), int(writer.rng.integers(len(name)))
    return letter + name if letter == "\ufeff" else name[:at] + letter + name[at:]


def _underscores(writer: Writer, name: str) -> str | None:
    return name.replace(" ", "_") if name.count(" ") == 1 and name.isascii() else None


def _quoted(writer: Writer, name: str) -> str | None:
    mark = writer.choose(("'", '"'))
    return f"{mark}{name}{mark}"


SPOILS: dict[str, Spoil] = {
    "html_tags": _tags,
    "html_entities": _entities,
    "case": _case,
    "mojibake": _mojibake,
    "spaces": _spaces,
    "no_break_space": _no_break,
    "invisible_character": _invisible,
    "underscores": _underscores,
    "quoted": _quoted,
}
