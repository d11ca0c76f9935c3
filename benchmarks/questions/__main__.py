"""The papers' questions, put to small models of the biosphere. A model that is already trained is not trained again.

python -m benchmarks.questions                      all six, one world, small models; two on the real sets in BIOCLIP_DATA
python -m benchmarks.questions losses replay        two of them
python -m benchmarks.questions --quick              check that everything runs, in a minute or two; the figures mean nothing
python -m benchmarks.questions --full --seeds 3     on a quiet machine
python -m benchmarks.questions --report             tables of the trained models, without training
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from benchmarks.questions import caption_matrix, diversity, losses, names, relatives, replay
from benchmarks.questions.cells import Study
from benchmarks.questions.question import Question, gather
from benchmarks.questions.real_sets import REAL
from benchmarks.questions.sizes import FULL, QUICK, SMALL, Size

QUESTIONS: dict[str, Question] = {
    module.QUESTION.name: module.QUESTION for module in (caption_matrix, losses, replay, relatives, names, diversity)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the missing models, print the tables and return 0."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - {*QUESTIONS, *REAL}):
        parser.error(f"unknown question {', '.join(unknown)}; choose from {', '.join([*QUESTIONS, *REAL])}")
    size = QUICK if options.quick else FULL if options.full else SMALL
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    study = Study(size, may_train=not options.report, say=_say)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for name in options.names or (*QUESTIONS, *REAL):
        if name in REAL:
            print(f"\n## {name}\n\n{_real(name, size, seeds, may_train=not options.report)}", flush=True)
            continue
        question = QUESTIONS[name]
        answers = gather(question, study, seeds)
        print(f"\n## {name}: {question.asks}\n\n{len(answers.worlds)} worlds, size {size.name}\n")
        print(question.report(answers) if answers.worlds else "Not trained yet.")
        if answers.missing:
            print(f"\nMissing, and not counted: {', '.join(answers.missing)}.")
        sys.stdout.flush()
    return 0


def _real(name: str, size: Size, seeds: range, *, may_train: bool) -> str:
    if "BIOCLIP_DATA" not in os.environ:
        return "Skipped: set BIOCLIP_DATA to the folder with the real sets."
    return REAL[name](size, seeds, may_train=may_train)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.questions", description="The papers' questions as experiments."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"Questions: {', '.join([*QUESTIONS, *REAL])} (default: all)."
    )
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="Use a world of 36 species and three steps per model.")
    extent.add_argument("--full", action="store_true", help="Use larger models, more plates and more steps.")
    parser.add_argument(
        "--seeds", type=int, default=1, help="Number of worlds; each has its own tree, looks, plates and weights."
    )
    parser.add_argument("--first-seed", type=int, default=0, help="Seed of the first world.")
    parser.add_argument("--threads", type=int, default=0, help="Number of torch threads; 0 keeps torch's own choice.")
    parser.add_argument("--report", action="store_true", help="Print tables without training.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
