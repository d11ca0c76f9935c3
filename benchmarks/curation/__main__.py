"""python -m benchmarks.curation RENDERED CURATED [--json FILE] [--no-faults]

Scores the catalog in CURATED (the output of ``bioclip-plugin curate``) against the truth in RENDERED (that of
``python -m bioclip_training.biosphere.publishing``): a page in Markdown, and a JSON document. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.curation.joined import join
from benchmarks.curation.score import page, scores


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curation", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("rendered", type=Path, metavar="RENDERED", help="Folder of a rendering, with its truth.")
    parser.add_argument("curated", type=Path, metavar="CURATED", help="Output folder of curate.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the scores as JSON as well.")
    parser.add_argument("--no-faults", action="store_true", help="Leave out the list of faults at the end.")
    options = parser.parse_args(argv)
    try:
        found = scores(join(options.rendered, options.curated))
    except FileNotFoundError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    sys.stdout.write(page(found, faults=not options.no_faults))
    return 0 if all(one["is_met"] for one in found["targets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
