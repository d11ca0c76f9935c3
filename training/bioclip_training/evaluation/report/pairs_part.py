"""Part of a report about pairs of taxa that are taken for each other, with example images side by side."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from bioclip_core.images.thumbnails import mime_type
from bioclip_core.nouns import number_of
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation import plots
from bioclip_training.evaluation.markup import image, percent, remark, section
from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evaluation.pairs import thumbnail
from bioclip_training.evaluation.truth import EXACT

_MAP = 25
_FEWEST_ON_A_MAP = 4


def pairs(outcome: Outcome) -> str:
    """Show the most confused pairs."""
    listed = outcome.metrics["confused_pairs"]
    if not listed:
        return ""
    heading = f"The {len(listed)} most confused pairs" if len(listed) > 1 else "The confused pair"
    exact = outcome.answers.scores[EXACT]
    overview = ""
    if len(np.unique(outcome.answers.truth_N[exact.place_N != 0])) >= _FEWEST_ON_A_MAP:
        overview = image(_confusion_map(outcome), "Shares of wrong answers of the most confused species", wide=True)
    return section(
        heading,
        remark(
            "Each pair with the wrong answer that the model was most sure of, and beside it an image of the species that it answered. "
            "A label may be wrong too: a look at both pictures tells."
        ),
        f'<div class="pairs">{"".join(_pair(pair, outcome.catalog) for pair in listed)}</div>',
        overview,
        anchor="pairs",
    )


def _pair(pair: Mapping[str, Any], catalog: Catalog) -> str:
    first, second = pair["first"], pair["second"]
    were = "was" if pair["wrong"] == 1 else "were"
    lines = [f"{pair['wrong']} of {number_of(pair['first_images'], 'image')} of {first} {were} answered as {second}"]
    if pair["back"]:
        lines.append(f"{pair['back']} of {pair['second_images']} the other way round")
    figures = "".join(_figure(example, catalog) for example in pair["examples"])
    return (
        f'<div class="pair"><h3>{escape(first)} and {escape(second)}</h3><p class="note">{escape("; ".join(lines))}.</p>'
        f'<div class="pictures">{figures}</div></div>'
    )


def _figure(example: Mapping[str, Any], catalog: Catalog) -> str:
    """Show one example image with its label, its answer and its file."""
    truth, answer, row = example["truth"], example["answer"], example["row"]
    if answer is None:
        text = f"{escape(truth)}, as labelled"
    elif answer == truth:
        text = f'{escape(truth)} <span class="right">answered rightly, {percent(example["probability"])} sure</span>'
    else:
        text = f'{escape(truth)} <span class="wrong">answered as {escape(answer)}, {percent(example["probability"])} sure</span>'
    data = thumbnail(catalog, row)
    described = truth if answer in (None, truth) else f"{truth}, answered as {answer}"
    shown = (
        f'<img alt="{escape(described)}" src="data:{mime_type()};base64,{b64encode(data).decode()}">'
        if data
        else '<span class="gone">no picture</span>'
    )
    file = "/".join(catalog.key(row).replace("\\", "/").split("/")[-2:])
    return f"<figure>{shown}<figcaption>{text}<small>{escape(file)}</small></figcaption></figure>"


def _confusion_map(outcome: Outcome) -> bytes:
    """Draw the taxa with the most wrong images against their most frequent answers."""
    answers = outcome.answers
    exact = answers.scores[EXACT]
    starts_S = answers.labels.spans(exact.truth.level).starts_S
    wrong = Counter(answers.truth_N[exact.place_N != 0].tolist())
    truths = sorted(truth for truth, _ in wrong.most_common(_MAP))
    inside_N = np.isin(answers.truth_N, truths)
    truth_N, answer_N = answers.truth_N[inside_N], exact.top_NK[inside_N, 0]
    spans = sorted(span for span, _ in Counter(answer_N.tolist()).most_common(_MAP + 5))
    counts_TA = np.array([[((truth_N == truth) & (answer_N == span)).sum() for span in spans] for truth in truths])
    totals_T = np.array([(truth_N == truth).sum() for truth in truths])
    return plots.confusion_map(
        counts_TA / totals_T[:, None],
        [answers.question.names[truth] for truth in truths],
        [answers.name(int(starts_S[span]), exact.truth.level) for span in spans],
    )
