"""A BioCLIP model for AddaxAI 7, written by ``bioclip-plugin models export``; it only needs torch, numpy and Pillow.

The weights file holds the vision tower, the embeddings of the labels, the scale and the temperature, and in
``settings.json`` the class names and the preprocessing of images. AddaxAI imports this file from the model's folder, in an
environment of its own: it is plain Python 3.8 and does not import other files of bioclip-plugin.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SETTINGS = "settings.json"
_LARGEST_SETTINGS = 1 << 24
BOX_UNIT = 10_000  # boxes are rounded to 1/10,000 of the upright image, as bioclip-plugin stores them
BATCH = 32  # crops in one forward pass
OVERSAMPLING = 2  # a box that is decoded at a fraction keeps this many times the model's size on each side
SAME_AS_SRGB = 8  # a colour profile that changes every channel by at most this, of 255, is ignored
ORIENTATION = 0x0112  # EXIF

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# The operation that makes each EXIF orientation upright, and the place of an upright box in the stored image: whether x and y
# are exchanged, then whether the stored x and y count from the other end.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAP_FLIP_X_FLIP_Y = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class ModelInference:
    """The model as AddaxAI's worker uses it: from crops of boxes to one confidence per class."""

    def __init__(self, model_dir: Path, model_path: Path) -> None:
        self.model_dir = Path(model_dir)
        self.model_path = Path(model_path)
        self.model: Any = None
        self._device = "cpu"
        self._settings = read_settings(self.model_path)

    def check_gpu(self) -> bool:
        """Return True if torch can use a GPU, NVIDIA's or Apple's."""
        return _best_device() != "cpu"

    def load_model(self) -> None:
        """Load the weights, on the GPU if there is one."""
        import torch

        self._device = _best_device()
        # Weights that float16 holds exactly are stored in it; they are used in float32 on every device.
        model: Any = torch.jit.load(str(self.model_path), map_location="cpu")  # type: ignore[no-untyped-call]
        self.model = model.float().eval().to(self._device)

    def get_crop(self, image: Image.Image, bbox: tuple[float, float, float, float]) -> Image.Image | None:
        """Return one box as the model's input, size by size pixels of RGB; None for a box without pixels.

        The box is x, y, width, height in fractions of the *upright* image, as MegaDetector writes it. In an image with an
        EXIF orientation, the box is found in the pixels as they are stored, and the crop is turned.
        """
        box = _rounded(bbox)
        if box is None:
            return None
        image, width, height = self._decoded(image, box)
        orientation = _orientation(image)
        swapped = orientation >= 5
        across, down = (height, width) if swapped else (width, height)
        part, size = self._window(box[2] * across, box[3] * down)
        fractions = (
            box[0] + part[0] / across,
            box[1] + part[1] / down,
            part[2] / across,
            part[3] / down,
        )
        small = _resizable(image).resize(
            (size[1], size[0]) if swapped else size,
            RESAMPLING[self._settings["preprocessing"]["interpolation"]],
            box=_stored_box((width, height), image.size, orientation, fractions),
        )
        if orientation in TURNS:
            small = small.transpose(TURNS[orientation])
        return self._padded(_rgb(small, image.info.get("icc_profile")))

    def _decoded(self, image: Image.Image, box: tuple[float, float, float, float]) -> tuple[Image.Image, float, float]:
        """Return the decoded image, and the width and height that the picture fills in its grid.

        A JPEG file is decoded at the fraction that leaves this box twice the model's size on each side, as in
        bioclip-plugin: another fraction gives a slightly different answer. The file is opened again for it, since AddaxAI
        crops other boxes from the same image. Other files are decoded fully.
        """
        contract = self._settings["preprocessing"]
        file = getattr(image, "filename", "")
        if contract["decode"] == "reduced" and image.format in ("JPEG", "MPO") and file and Path(file).is_file():
            fresh = Image.open(file)
            width, height = fresh.size
            across, down = (height, width) if _orientation(fresh) >= 5 else (width, height)
            wanted = max(1, int(min(box[2] * across, box[3] * down) / (OVERSAMPLING * contract["size"])))
            scale = next(offered for offered in (8, 4, 2, 1) if offered <= wanted)
            if scale > 1 and fresh.draft(None, (width // scale, height // scale)):
                fresh.load()
                return fresh, width / scale, height / scale
        image.load()  # Pillow turns a TIFF here, and forgets its orientation
        return image, float(image.width), float(image.height)

    def get_tensor(self, crop: Image.Image) -> np.ndarray:
        """Return a crop as H×W×3 bytes; all further processing is part of the model."""
        size = self._settings["preprocessing"]["size"]
        if crop.size != (size, size) or crop.mode != "RGB":  # not from get_crop
            whole = self.get_crop(crop, (0.0, 0.0, 1.0, 1.0))
            if whole is None:
                raise ValueError("the crop is empty")
            crop = whole
        return np.array(crop)

    def classify_batch(self, batch: np.ndarray) -> list[list[list[Any]]]:
        """Return every class with its confidence, in the order of the classes, for each crop of a stack of :meth:`get_tensor`."""
        import torch

        if self.model is None:
            self.load_model()
        names = self._settings["classes"]
        found = []
        with torch.no_grad():
            for start in range(0, len(batch), BATCH):
                pixels = torch.from_numpy(np.ascontiguousarray(batch[start : start + BATCH])).to(self._device)
                for row in self.model(pixels).cpu().tolist():
                    found.append([[name, row[place]] for place, name in enumerate(names)])
        return found

    def get_classification(self, crop: Image.Image) -> list[list[Any]]:
        """Return every class with its confidence for one crop."""
        return self.classify_batch(self.get_tensor(crop)[None])[0]

    def get_class_names(self) -> dict[str, str]:
        """Return the classes by their numbers, from "1"."""
        return {str(number): name for number, name in enumerate(self._settings["classes"], 1)}

    def _window(self, width: float, height: float) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
        """Return the part of a box (x, y, width, height in its pixels) that the model sees, and its size for the model."""
        contract = self._settings["preprocessing"]
        size = contract["size"]
        if contract["resize_mode"] == "squash":
            return (0.0, 0.0, width, height), (size, size)
        if contract["resize_mode"] == "longest":
            ratio = max(width, height) / size
            return (0.0, 0.0, width, height), (max(1, round(width / ratio)), max(1, round(height / ratio)))
        scaled = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
        step_x, step_y = width / scaled[0], height / scaled[1]
        left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
        return (left * step_x, top * step_y, size * step_x, size * step_y), (size, size)

    def _padded(self, image: Image.Image) -> Image.Image:
        contract = self._settings["preprocessing"]
        size = contract["size"]
        if image.size == (size, size):
            return image
        canvas = Image.new("RGB", (size, size), (contract["fill"],) * 3)
        canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
        return canvas


def read_settings(model_path: Path) -> dict[str, Any]:
    """Return class names and preprocessing from the weights file, without torch."""
    try:
        with zipfile.ZipFile(str(model_path)) as weights:
            name = next((one for one in weights.namelist() if one.endswith("/extra/" + SETTINGS)), None)
            if name is None:
                raise ValueError(f"it lacks {SETTINGS}, so it was not written by bioclip-plugin models export")
            with weights.open(name) as file:
                settings = json.loads(file.read(_LARGEST_SETTINGS).decode("utf-8"))
    # A RuntimeError: the archive is encrypted, or the text is nested too deeply.
    except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError) as error:
        raise ValueError(f"{model_path} cannot be used: {error}") from error
    if not isinstance(settings, dict) or settings.get("format_version") != 1:
        settings = settings if isinstance(settings, dict) else {}
        raise ValueError(
            f"{model_path} has format {settings.get('format_version')!r}, and this inference.py reads 1: export the model again"
        )
    return dict(settings)


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    apple = getattr(torch.backends, "mps", None)
    return "mps" if apple is not None and apple.is_available() else "cpu"


# -- boxes and orientation ---------------------------------------------------------------------------------------------


def _rounded(bbox: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
    """Return the box in whole units, at least one wide and high; None for an empty box or one outside the image."""
    x, y, w, h = (float(value) for value in bbox)
    if not all(math.isfinite(value) for value in (x, y, w, h)):
        return None
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + w, 1.0), min(y + h, 1.0)
    if right <= left or bottom <= top:
        return None
    left_u, top_u = (min(round(value * BOX_UNIT), BOX_UNIT - 1) for value in (left, top))
    width_u = max(1, min(round((right - left) * BOX_UNIT), BOX_UNIT - left_u))
    height_u = max(1, min(round((bottom - top) * BOX_UNIT), BOX_UNIT - top_u))
    return left_u / BOX_UNIT, top_u / BOX_UNIT, width_u / BOX_UNIT, height_u / BOX_UNIT


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation of an image in memory; 1 if it is missing or invalid."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged block
        return 1
    return value if value in SWAP_FLIP_X_FLIP_Y else 1


def _stored_box(
    filled: tuple[float, float], size: tuple[int, int], orientation: int, box: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Return a box of the upright image as left, upper, right, lower in the stored pixels, kept inside them.

    An image that was decoded at a fraction of its size fills only a part of the last pixels.
    """
    swap, flip_x, flip_y = SWAP_FLIP_X_FLIP_Y[orientation]
    x, y, w, h = (box[1], box[0], box[3], box[2]) if swap else box
    x = 1 - x - w if flip_x else x
    y = 1 - y - h if flip_y else y
    left, right = (min(max(value * filled[0], 0.0), float(size[0])) for value in (x, x + w))
    upper, lower = (min(max(value * filled[1], 0.0), float(size[1])) for value in (y, y + h))
    return left, upper, right, lower


# -- colours -----------------------------------------------------------------------------------------------------------


def _resizable(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resized smoothly and converted to RGB afterwards; alpha is dropped."""
    mode = image.mode
    if mode in ("RGB", "L", "CMYK", "YCbCr", "LAB"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode in ("P", "PA", "RGBa"):
        return image.convert("RGBA").convert("RGB")
    if mode in ("LA", "La"):
        return image.getchannel("L")
    if mode.startswith("I;16"):
        return Image.fromarray(((np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    if mode in ("I", "F"):
        return Image.fromarray(_grey(np.nan_to_num(np.asarray(image).astype(np.float64))))
    return image.convert("RGB")


def _grey(values: np.ndarray) -> np.ndarray:
    """Return numbers as grey: scaled from 0 to 1, 255 or 65535 if they lie within, else from the smallest to the largest."""
    low, high = float(values.min()), float(values.max())
    for top in (1.0, 255.0, 65535.0):
        if low >= 0 and high <= top:
            low, high = 0.0, top
            break
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)


def _rgb(small: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the resized image as RGB in sRGB; an unusable colour profile is ignored."""
    if small.mode == "LAB" or (profile and small.mode in ("RGB", "CMYK")):
        try:
            converted = _to_srgb(small, profile)
        except Exception:  # the image counts, not its profile
            converted = None
        if converted is not None:
            return converted
    return small if small.mode == "RGB" else small.convert("RGB")


def _to_srgb(small: Image.Image, profile: bytes | None) -> Image.Image | None:
    from PIL import ImageCms

    is_lab = small.mode == "LAB"
    source: Any = ImageCms.createProfile("LAB") if is_lab else ImageCms.getOpenProfile(io.BytesIO(profile or b""))
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        small.mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if small.mode == "RGB":
        steps = np.linspace(0, 255, 6).astype(np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        seen = np.asarray(ImageCms.applyTransform(Image.fromarray(probe), transform))
        if int(np.abs(seen.astype(int) - probe.astype(int)).max()) <= SAME_AS_SRGB:
            return None
    return ImageCms.applyTransform(small, transform)
