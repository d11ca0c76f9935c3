"""Figures of the BioCLIP papers, in percent as published, with their sources. Nothing here is computed or guessed."""

from __future__ import annotations

from dataclasses import dataclass

BIOCLIP_SITE = "imageomics.github.io/bioclip (Stevens et al. 2024, table of the paper)"
BIOCLIP_2_SITE = "imageomics.github.io/bioclip-2 (Gu et al. 2025, tables of the paper)"
BIOCLIP_SHOTS = "Stevens et al. 2024, Rare Species with 0, 1 and 5 examples"

ZERO_SHOT = "zero-shot top-1"
_BEYOND = {
    "fishnet": "exact match of all traits", "newt": "accuracy of the tasks", "awa2": "macro-F1", "herbarium-19": "clustering accuracy",
    "plantdoc": "1-shot accuracy",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """One figure of a paper."""

    set_name: str
    """Name of an evaluation set, or of a suite that it is the mean of."""
    figure: str
    """Name of the measure."""
    model: str
    percent: float
    source: str


def _table(columns: str, rows: dict[str, str], source: str) -> list[PublishedFigure]:
    names = columns.split()
    return [
        PublishedFigure(name, _BEYOND.get(name, ZERO_SHOT), model, float(value), source)
        for model, values in rows.items()
        for name, value in zip(names, values.split(), strict=True)
    ]


PUBLISHED: tuple[PublishedFigure, ...] = (
    *_table(
        "birds-525 plankton insects insects-2 plantnet fungi plantvillage medicinal-leaf plantdoc-meta-album rare-species bioclip",
        {
            "CLIP ViT-B/16": "49.9 3.2 9.1 9.8 58.5 10.2 5.4 15.9 26.1 26.6 21.4",
            "OpenCLIP ViT-B/16": "54.7 2.2 6.5 9.6 50.2 5.7 8.0 12.4 25.8 31.0 20.6",
            "BioCLIP": "72.1 6.1 34.8 20.4 91.4 40.7 24.4 38.6 28.4 37.8 39.4",
            "iNat21 only": "56.1 2.6 30.7 11.5 88.2 43.0 18.4 25.6 20.5 19.4 31.6",
        },
        BIOCLIP_SITE,
    ),
    *_table(
        "nabirds plankton insects insects-2 camera-traps plantnet fungi plantvillage medicinal-leaf rare-species bioclip-2",
        {
            "CLIP ViT-L/14": "66.5 1.3 9.0 11.7 29.5 61.7 7.6 6.5 25.6 35.2 25.5",
            "SigLIP": "61.7 2.4 27.3 20.7 33.7 81.8 36.9 28.5 54.5 47.6 39.5",
            "BioTrove-CLIP": "39.4 1.0 20.5 15.7 10.7 64.4 38.2 15.7 31.6 24.6 26.2",
            "BioCLIP": "58.8 6.1 34.9 20.5 31.7 88.2 40.9 19.0 38.5 37.1 37.6",
            "BioCLIP 2": "74.9 3.9 55.3 27.7 53.9 96.8 83.8 25.1 57.8 76.8 55.6",
        },
        BIOCLIP_2_SITE,
    ),
    *_table(
        "fishnet newt awa2 herbarium-19 plantdoc",
        {
            "CLIP ViT-L/14": "27.9 83.4 61.6 18.2 22.3",
            "SigLIP": "31.9 83.2 67.3 18.6 28.2",
            "Supervised-IN21K": "29.4 75.8 52.7 14.9 25.1",
            "DINOv2": "37.4 83.7 48.6 28.1 38.6",
            "BioTrove-CLIP": "22.1 82.5 45.7 20.4 37.7",
            "BioCLIP": "30.1 82.7 65.9 26.8 39.5",
            "BioCLIP 2": "39.8 89.1 69.5 48.6 40.4",
        },
        BIOCLIP_2_SITE,
    ),
    *(
        PublishedFigure("rare-species", name, model, float(value), BIOCLIP_SHOTS)
        for model, values in {
            "CLIP ViT-B/16": "31.8 28.5 46.1", "OpenCLIP ViT-B/16": "29.9 29.3 47.5", "iNat21 only": "21.3 36.9 55.7",
            "BioCLIP": "38.1 44.9 65.7",
        }.items()
        for name, value in zip((ZERO_SHOT, "1-shot accuracy", "5-shot accuracy"), values.split(), strict=True)
    ),
)  # fmt: skip


def published_for(set_name: str, figure: str) -> list[PublishedFigure]:
    """Return the published figures of a set's measure."""
    return [one for one in PUBLISHED if (one.set_name, one.figure) == (set_name, figure)]
