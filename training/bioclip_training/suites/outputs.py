"""The output folder of an evaluation on published sets: what it holds, and which evaluations may go on in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError, DataError
from bioclip_core.files.documents import as_recorded, read_document
from bioclip_core.files.whole import write_whole
from bioclip_core.listed_names import listed
from bioclip_training.suites.result import MEASURED, SetResult

REPORT, DOCUMENT, FEATURES, RESULTS = "report.html", "suite.json", "features", "sets"
FORMAT_VERSION = 1
_COMPARED = ("text_type", "prompts", "resize", "exact", "folds", "runs", "search_draws", "seed")
"""Options that decide figures; the others may differ from one command to the next."""
_OF_OTHERS = "is not the folder of an evaluation on published sets; give another --output"


@dataclass(frozen=True, slots=True)
class SuiteFolder:
    """The folder ``--output``, with the features, results and report of one evaluation."""

    path: Path

    def check(self) -> None:
        """Refuse a folder that holds anything but an evaluation on published sets.

        Raises:
            DataError: with the first entry that is something else.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise DataError(f"--output {self.path} is a file; give the name of a folder")
        others = sorted({entry.name for entry in self.path.iterdir()} - {REPORT, DOCUMENT, FEATURES, RESULTS})
        others = [name for name in others if not name.startswith((f".{REPORT}", f".{DOCUMENT}"))]
        if others:
            raise DataError(f"--output {self.path} holds {others[0]} and {_OF_OTHERS}")

    def begin(
        self, record: Mapping[str, Any], names: Sequence[str], files_of: Mapping[str, str], *, force: bool
    ) -> dict[str, SetResult]:
        """Claim the folder for an evaluation, or check that it holds an earlier part of it.

        Args:
            record: settings and model as the document has them.
            names: the sets of this command.
            files_of: ids of the files of its sets, by name.
            force: replace the report of another evaluation; its features stay.

        Returns:
            The results of the earlier part, by set.

        Raises:
            DataError: if the report is that of another model, other settings, other files or more sets.
        """
        held = self._held()
        if held is not None and not force:
            if other := [
                *_differences(held, record),
                *_lacking(held, names),
                *self._other_files(held, record, files_of),
            ]:
                raise DataError(
                    f"--output {self.path} holds an evaluation that differs: {'; '.join(other)}. Continue it with the same settings, give "
                    "another --output, or --force to replace its report"
                )
            return _results_of(held)
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_document(record, ())
        return {}

    def write_document(self, record: Mapping[str, Any], results: Sequence[SetResult]) -> None:
        """Write ``suite.json``: what was evaluated, and the results so far."""
        document = {**record, "sets": {result.name: result.as_json() for result in results}}
        write_whole(self.path / DOCUMENT, json.dumps(document, indent=1, allow_nan=False) + "\n")

    def write_report(self, page: str) -> None:
        """Write ``report.html``."""
        write_whole(self.path / REPORT, page)

    def result_file(self, name: str) -> Path:
        """Return the file of a set's finished result."""
        return self.path / RESULTS / f"{name}.json"

    def kept(self, name: str, key: str) -> SetResult | None:
        """Return the finished result of a set if it has this key."""
        with suppress(BioclipError, KeyError, TypeError):
            held = read_document(self.result_file(name), dict[str, Any], name="result")
            held.pop("files", None)
            if held.pop("key", None) == key:
                return SetResult.from_json(held)
        return None

    def keep(self, result: SetResult, key: str, files: str) -> None:
        """Keep a finished result with its key and the id of its files."""
        file = self.result_file(result.name)
        file.parent.mkdir(exist_ok=True)
        held = {"key": key, "files": files, **result.as_json()}
        write_whole(file, json.dumps(held, indent=1, allow_nan=False) + "\n")

    def _held(self) -> dict[str, Any] | None:
        if not (self.path / DOCUMENT).exists():
            return None
        held = read_document(self.path / DOCUMENT, dict[str, Any], name="the document of the evaluation")
        if held.get("format_version") != FORMAT_VERSION or not {"options", "model", "sets"} <= {*held}:
            raise DataError(
                f"{self.path / DOCUMENT} was not written by this version of the program; give another --output, or remove it"
            )
        return held

    def _other_files(
        self, held: Mapping[str, Any], record: Mapping[str, Any], files_of: Mapping[str, str]
    ) -> list[str]:
        """Return the sets of another root with other files; in the same root, changed files are measured again."""
        before, now = held.get("root"), record["root"]
        if before == now:
            return []
        found = []
        for name, files in files_of.items():
            with suppress(BioclipError):
                kept = read_document(self.result_file(name), dict[str, Any], name="result")
                if held["sets"].get(name, {}).get("status") == MEASURED and kept.get("files") != files:
                    found.append(f"{name} was measured on other files, in {before} and not in {now}")
        return found


def _results_of(held: Mapping[str, Any]) -> dict[str, SetResult]:
    with suppress(KeyError, TypeError):
        return {name: SetResult.from_json(result) for name, result in held["sets"].items()}
    return {}


def _lacking(held: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the measured sets that a command leaves out, with the words that ask for them."""
    measured = [name for name, result in held["sets"].items() if result.get("status") == MEASURED]
    lacking = [name for name in measured if name not in names]
    asked = " ".join(f"--suite {name}" for name in held["options"].get("suites", ()))
    return [f"its report also has {listed(lacking)} (it was asked for with {asked})"] if lacking else []


def _differences(held: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    now = as_recorded(record)
    names = [one["model"].get("name", "") for one in (held, now)]
    found = []
    if held["model"].get("weights_sha256") != now["model"]["weights_sha256"]:
        changed = f"{names[0]} and is now {names[1]}" if names[0] != names[1] else f"{names[0]} with other weights"
        found.append(f"--model was {changed}")
    for option in _COMPARED:
        before, after = (one["options"].get(option) for one in (held, now))
        if before != after:
            found.append(f"--{option.replace('_', '-')} was {_shown(before)} and is now {_shown(after)}")
    if held.get("precision") != now["precision"]:
        found.append(f"the precision was {held.get('precision')} and is now {now['precision']}")
    if not found and held.get("preprocessing") != now["preprocessing"]:
        found.append("the preprocessing of the model was another one")
    return found


def _shown(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
