"""Printed commands, carried out as they stand: collected from what a command says, and filled in where a placeholder is."""

from __future__ import annotations

import re
import shlex

from command_samples import Bioclip, Outcome

_ADVISED = re.compile(r"(?<![$`]) (bioclip-plugin .*)$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"(?:.*:)?[A-Z]{3,}(?:\.[a-z]+)?")

TRAINING = ["new:tiny model.json", "--steps", "2", "--batch-size", "4", "--device", "cpu", "--no-wise-ft"]
"""Start model and options with which training is over in a moment."""

FILL: dict[str, list[str]] = {
    "--start MODEL": TRAINING,
    "--model MODEL": ["fake"],
    "--output FOLDER": ["made by a hint"],
    "local-dir:FOLDER": ["local-dir:made by a hint"],
    "REPORT": ["the report"],
    "PATHS": ["one photo.png"],
    "CATALOG": ["here/a catalog.parquet"],
    "build TABLE": ["names.csv"],
    "CATALOG.parquet": ["again.parquet"],
    "NAME": ["Red fictus"],
    "FILE": ["reviews.csv"],
    "FILE.parquet": ["another.parquet"],
    "FILE.taxonomy": ["another.taxonomy"],
    "CHECKLIST": ["taxa.csv"],
}
"""Words for placeholders; a placeholder that is not here fails the test."""


def filled(words: list[str]) -> list[str]:
    """Return the words of a command with something for each placeholder."""
    given: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        value = FILL.get(f"{before} {word}") or FILL.get(word)
        assert value or not _PLACEHOLDER.fullmatch(word), f"{word} in {words} is not among the known placeholders"
        given += value or [word]
    return given


def carry_out(bioclip: Bioclip, said: Outcome, done: dict[str, int] | None = None) -> dict[str, int]:
    """Carry out each printed command, and those that it prints in turn; return the exit code of each, by its words."""
    done = {} if done is None else done
    for line in _ADVISED.findall("\n".join(f" {line}" for line in said.out.splitlines())):
        if line not in done:
            words = filled(shlex.split(line)[1:])
            outcome = bioclip(*words)
            done[line] = outcome.code
            assert outcome.code in (0, 3), f"{words}: exit code {outcome.code}\n{outcome.out}{outcome.err}"
            carry_out(bioclip, outcome, done)
    return done


def names_of(done: dict[str, int]) -> list[str]:
    return [line.split()[1] for line in done]
