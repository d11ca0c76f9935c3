"""Names of the evaluation sets, and of the tables of the papers that several of them make up."""

from __future__ import annotations

CAMERA_TRAP_SETS = tuple(
    f"camera-traps-{name}" for name in ("desert-lion", "ena24", "island", "orinoquia", "ohio-small-animals")
)
"""The five sets of IDLE-OO, whose mean is the papers' figure for camera traps."""
_META_ALBUM = ("plankton", "insects", "insects-2")
_PLANTS = ("plantnet", "fungi", "plantvillage", "medicinal-leaf")
_BEYOND = ("fishnet", "newt", "awa2", "herbarium-19", "plantdoc")

SUITES: dict[str, tuple[str, ...]] = {
    "bioclip": ("birds-525", *_META_ALBUM, *_PLANTS, "plantdoc-meta-album", "rare-species"),
    "bioclip-2": ("nabirds", *_META_ALBUM, *CAMERA_TRAP_SETS, *_PLANTS, "rare-species", *_BEYOND),
    "camera-traps": CAMERA_TRAP_SETS,
}
"""Names that stand for several sets: all of a paper's table."""

SET_NAMES = tuple(dict.fromkeys((*SUITES["bioclip"], *SUITES["bioclip-2"])))
SUITE_NAMES = (*SUITES, *SET_NAMES)
