"""The evaluation sets: where each is from, what its folder holds, how it is read and asked, and what was wrong with its protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.findings import Findings
from bioclip_core.listed_names import did_you_mean
from bioclip_training.published.rare_species import RareSpecies
from bioclip_training.suites.images import MissingSetError, SetImages
from bioclip_training.suites.names import SUITE_NAMES, SUITES
from bioclip_training.suites.reading import (
    ANNOTATION,
    BIRDS_525,
    META_ALBUM,
    TableLayout,
    camera_traps,
    read_nabirds,
    read_rare_species,
    read_table,
)
from bioclip_training.suites.reading_tasks import read_awa2, read_fishnet, read_newt, read_split_folders

Reader = Callable[[Path, Findings], SetImages]
Form = tuple[str, Callable[[Path], bool], Reader]
"""A published layout: what its folder must hold, the test for it, and its reader."""

MICRO = "Published accuracies count every image, so that classes with more images count more; corrected ones are means over classes."
QUERIES = (
    "Every image that is not an example is a query in the published code, also another image of an example's sequence, or its copy; the "
    "corrected figure leaves such queries out."
)
_UNDERSCORES = "Classes are asked with the underscores of their folders; the corrected prompts have blanks."
_HOLES = (
    "A missing rank leaves a second blank in the published prompts, and texts of two classes that are equal make them one class; the "
    "corrected prompts skip missing ranks, and each class counts by itself."
)


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """One set, as a reader of a report must know it."""

    name: str
    """The word of ``--suite``."""
    title: str
    kind: str
    """Name of the protocol: ``species``, ``newt``, ``fishnet``, ``awa2``, ``herbarium-19`` or ``plantdoc``."""
    page: str
    """Address of the data set's page."""
    licence: str
    folders: tuple[str, ...]
    """Names of its folder below the root, in the papers' repositories and as downloaded."""
    forms: tuple[Form, ...]
    text_type: str = "class"
    """Text type of the published evaluation."""
    wrong: tuple[str, ...] = ()
    """What the published protocol does that the corrected one does not."""
    images: int = 0
    """Published number of images; 0 if it is not known here."""
    classes: int = 0
    """Published number of classes, tasks or attributes; 0 if it is not known here."""
    words_note: str = ""
    """Why these words are asked, if the text type behind the published figure is not known."""

    @property
    def counts(self) -> str:
        """What ``classes`` counts, in the plural."""
        return {"newt": "tasks", "fishnet": "traits", "awa2": "attributes"}.get(self.kind, "classes")

    @property
    def needs(self) -> str:
        """What its folder must hold, for messages."""
        return ", or ".join(needs for needs, _, _ in self.forms)

    def form_in(self, folder: Path) -> Form | None:
        """Return the layout that a folder has; None if it has none of this set's."""
        return next((form for form in self.forms if is_folder(folder) and form[1](folder)), None)


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all(is_file(folder / name) or is_folder(folder / name) for name in names)


def _table(name: str, layout: TableLayout) -> Form:
    return (
        f"{name} and the images that it lists",
        _has(name),
        lambda folder, findings: read_table(folder / name, layout, findings),
    )


def _within(form: Form, inner: str) -> Form:
    needs, has, read = form
    return (
        f"{inner}/ with {needs}", lambda folder: is_folder(folder / inner) and has(folder / inner),
        lambda folder, findings: read(folder / inner, findings),
    )  # fmt: skip


_ANNOTATION = _table("metadata.csv", ANNOTATION)
_LINEAGES: Form = (
    "a folder per species named by its seven ranks, also in dataset/",
    lambda folder: RareSpecies().recognise(folder) is not None,
    read_rare_species,
)
_META_ALBUM_PAGE = "https://meta-album.github.io/"
_AS_STATED = "as stated on its page, per image"


def _meta_album(name: str, title: str, code: str, number: int, images: int, classes: int) -> EvaluationSet:
    form = _table("metadata.csv", ANNOTATION)
    return EvaluationSet(
        name, f"{title} (Meta-Album {code})", "species", _META_ALBUM_PAGE, "as stated on its page, per set",
        tuple(f"{base}{code}{end}" for base in ("meta-album/", f"meta-album/set{number}/", "", "meta-album-original/")
              for end in ("/val", "")),
        (form, _table("labels.csv", META_ALBUM)), wrong=(_UNDERSCORES, QUERIES), images=images, classes=classes,
    )  # fmt: skip


def _camera_traps(name: str, table: str, images: int) -> EvaluationSet:
    file = f"{table}-balanced.csv"
    form = _table(file, camera_traps(table))
    return EvaluationSet(
        f"camera-traps-{name}", f"IDLE-OO Camera Traps, {table}", "species",
        "https://huggingface.co/datasets/imageomics/IDLE-OO-Camera-Traps", _AS_STATED,
        ("idle-oo", "IDLE-OO-Camera-Traps", "CameraTrap", "camera-traps"), (form, _within(form, "data")),
        text_type="taxonomic_common",
        wrong=(_HOLES, QUERIES, "Images of one sequence are counted as independent; the intervals are over sequences."), images=images,
    )  # fmt: skip


SETS: tuple[EvaluationSet, ...] = (
    EvaluationSet(
        "rare-species", "Rare Species", "species", "https://huggingface.co/datasets/imageomics/rare-species", _AS_STATED,
        ("rare_species", "rare-species", "rarespecies", "rare-species-hf"),
        (_ANNOTATION, _LINEAGES), "taxonomic_common", (MICRO, _HOLES, QUERIES), 11983, 400,
    ),
    EvaluationSet(
        "nabirds", "NABirds", "species", "https://dl.allaboutbirds.org/nabirds", "terms of use of the Cornell Lab of Ornithology",
        ("nabirds", "nabird/images", "nabird", "nabirds-original"),
        (_ANNOTATION, ("images.txt, image_class_labels.txt, classes.txt and images/", _has("images.txt", "classes.txt"), read_nabirds)),
        wrong=(MICRO, QUERIES), images=48562, classes=555,
    ),
    EvaluationSet(
        "birds-525", "Birds 525", "species", "https://www.kaggle.com/datasets/gpiosenka/100-bird-species (withdrawn)",
        "as stated on its former page", ("birds525", "kaggle_bird", "birds-525"), (_table("birds.csv", BIRDS_525), _ANNOTATION),
        words_note=(
            "the text type behind the published figure is not stated: the words of its table are asked, as the published code does unless "
            "told otherwise; --text-type scientific or scientific_common asks with the names of birds.csv"
        ),
        wrong=(MICRO, "Its test part has five images per class: with five examples no query is left.", QUERIES), images=2625, classes=525,
    ),
    _meta_album("plankton", "Plankton", "PLK_Mini", 0, 3440, 86),
    _meta_album("insects", "Insects", "INS_Mini", 2, 4160, 104),
    _meta_album("insects-2", "Insects 2", "INS_2_Mini", 1, 4080, 102),
    _meta_album("plantnet", "PlantNet", "PLT_NET_Mini", 1, 1000, 25),
    _meta_album("fungi", "Fungi", "FNG_Mini", 2, 1000, 25),
    _meta_album("plantvillage", "PlantVillage", "PLT_VIL_Mini", 0, 1520, 38),
    _meta_album("medicinal-leaf", "Medicinal Leaf", "MED_LF_Mini", 1, 1000, 25),
    _meta_album("plantdoc-meta-album", "PlantDoc", "PLT_DOC_Mini", 1, 1080, 27),
    _camera_traps("desert-lion", "desert-lion", 352), _camera_traps("ena24", "ENA24", 1120), _camera_traps("island", "island", 310),
    _camera_traps("orinoquia", "orinoquia", 336), _camera_traps("ohio-small-animals", "ohio-small-animals", 468),
    EvaluationSet(
        "newt", "NeWT", "newt", "https://github.com/visipedia/newt", _AS_STATED, ("newt",),
        (("newt2021_labels.csv and newt2021_images/", _has("newt2021_labels.csv"), read_newt),),
        wrong=(
            "The published figure is the share of all test images of all tasks, so that larger tasks count more; the corrected one is the "
            "mean over tasks.",
        ),
        classes=164,
    ),
    EvaluationSet(
        "fishnet", "FishNet, nine traits", "fishnet", "https://fishnet-2023.github.io/", _AS_STATED, ("fishnet",),
        (("train.csv, test.csv and Image_Library/", _has("train.csv", "test.csv"), read_fishnet),
         ("anns/train.csv, anns/test.csv and Image_Library/", _has("anns/train.csv", "anns/test.csv"),
          partial(read_fishnet, tables="anns"))),
        wrong=(
            "Logits are compared with 0.5 as if they were probabilities, which asks for a probability of 62%.",
            "The network is never put into the mode of evaluation: half of its hidden layer is dropped at random in the test.",
            "Traits belong to species, and species are in both parts: the figure for species that are not in train.csv is given beside it.",
        ),
        classes=9,
    ),
    EvaluationSet(
        "awa2", "Animals with Attributes 2", "awa2", "https://cvml.ista.ac.at/AwA2/", _AS_STATED,
        ("awa2", "AwA2", "Animals_with_Attributes2"),
        (("classes.txt, predicates.txt, predicate-matrix-binary.txt, trainclasses.txt, testclasses.txt and JPEGImages/",
          _has("classes.txt", "predicate-matrix-binary.txt"), read_awa2),),
        wrong=(
            "The macro-F1 is asked for the labels 0 and 1, which scikit-learn takes for the first two of the 85 attributes.",
            "Logits are compared with 0.5 as if they were probabilities, which asks for a probability of 62%.",
            "The network is never put into the mode of evaluation: half of its hidden layer is dropped at random in the test.",
        ),
        images=37322, classes=85,
    ),
    EvaluationSet(
        "herbarium-19", "Herbarium19", "herbarium-19", "https://www.kaggle.com/c/herbarium-2019-fgvc6/data", "as stated on its page",
        ("herbarium19", "herbarium_19", "herbarium-19"),
        (("small-train/CLASS", _has("small-train"),
          partial(read_split_folders, splits=(("train", "small-train"),))),),
        wrong=(
            "Known and new classes are matched with clusters separately, so that one cluster may stand for a known and for a new class; "
            "the corrected figure has one match for all.",
        ),
        images=34225, classes=683,
    ),
    EvaluationSet(
        "plantdoc", "PlantDoc, one example per class", "plantdoc", "https://github.com/pratikkayal/PlantDoc-Dataset", "CC BY 4.0",
        ("plantdoc", "PlantDoc-Dataset"),
        (("train/CLASS and test/CLASS", _has("train", "test"),
          partial(read_split_folders, splits=(("train", "train"), ("test", "test")))),),
        wrong=(
            "Classes of train and test are numbered apart: the published test lacks 'Tomato two spotted spider mites leaf', so that the "
            "classes behind it in the alphabet (grape leaf, grape leaf black rot) are compared with the wrong ones.",
            MICRO,
        ),
        classes=28,
    ),
)  # fmt: skip

_BY_NAME = {one.name: one for one in SETS}


def chosen_sets(names: Sequence[str]) -> tuple[EvaluationSet, ...]:
    """Return the sets that names stand for, each once, in the order in which they are given.

    Raises:
        UsageError: for an unknown name.
    """
    found: dict[str, EvaluationSet] = {}
    for name in names:
        if name not in SUITE_NAMES:
            raise UsageError(f"suite {name!r}: known are {', '.join(SUITE_NAMES)}{did_you_mean(name, SUITE_NAMES)}")
        found.update((member, _BY_NAME[member]) for member in SUITES.get(name, (name,)))
    return tuple(found.values())


def located(wanted: EvaluationSet, root: Path) -> tuple[Path, Form]:
    """Return the folder of a set below the root, or the root itself, and its layout.

    Raises:
        MissingSetError: if it is not there, with what is needed and where to get it.
        UsageError: if several folders hold it.
    """
    tried = {"": root} | {name: root / name for name in wanted.folders}
    found = [(folder, form) for folder in tried.values() if (form := wanted.form_in(folder)) is not None]
    distinct = {folder.resolve(): (folder, form) for folder, form in found}
    if len(distinct) > 1:
        listed = ", ".join(str(folder) for folder, _ in distinct.values())
        raise UsageError(
            f"{wanted.name}: several folders hold it ({listed}); give one of them as --root, with --suite {wanted.name}"
        )
    if not distinct:
        raise MissingSetError(
            f"{root} has no folder of {wanted.title}: expected {' or '.join(wanted.folders[:3])} with {wanted.needs}; get it from "
            f"{wanted.page}"
        )
    return next(iter(distinct.values()))
