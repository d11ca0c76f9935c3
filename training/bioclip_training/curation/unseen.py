"""Species that are kept out of training, in the manner of Rare Species: those of a list, or a share of the frequent ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bioclip_core.errors import DataError
from bioclip_core.listed_names import did_you_mean
from bioclip_training.catalog.rows import hashed_share
from bioclip_training.curation.configuration import SplitsConfig

_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Unseen:
    """Species of the split ``unseen``."""

    species: tuple[str, ...]
    """Genus and epithet, sorted."""
    unknown: tuple[str, ...]
    """Species of the list that no record has."""


def unseen_species(config: SplitsConfig, seed: int, records: Mapping[str, int]) -> Unseen:
    """Return the species that are kept out of training.

    Args:
        config: the list, and the rule.
        seed: of the curation.
        records: number of records that may be used of each species, by genus and epithet.

    Raises:
        DataError: if the list cannot be read, is empty, or has none of the species.
    """
    listed = read_species(config.unseen_species) if config.unseen_species else []
    chosen = {name for name in listed if name in records}
    unknown = tuple(sorted(set(listed) - chosen))
    if listed and not chosen:
        raise DataError(
            f"{config.unseen_species}: none of its {len(listed)} species is in the records (the first: {unknown[0]}"
            f"{did_you_mean(unknown[0], records)}); write genus and epithet, one species per line"
        )
    for name, count in records.items():
        if count >= config.unseen_images and hashed_share(f"{seed} unseen {name}") < config.unseen_share:
            chosen.add(name)
    return Unseen(tuple(sorted(chosen)), unknown)


def read_species(file: Path) -> list[str]:
    """Return the species of a list, genus and epithet.

    Raises:
        DataError: if it cannot be read or is empty.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(_LARGEST + 1).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"splits.unseen_species {file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"splits.unseen_species {file} is not UTF-8: save it as UTF-8") from error
    names = [" ".join(line.replace("_", " ").split()) for line in text.splitlines()]
    names = [f"{name[:1].upper()}{name[1:].lower()}" for name in names if name and not name.startswith("#")]
    if not names:
        raise DataError(f"splits.unseen_species {file} has no species: write genus and epithet, one species per line")
    return names
