"""Example detector: the part of a photograph that is darker or brighter than its border. It shows the interface, and finds little else."""

import numpy as np

from bioclip_plugin import hookimpl
from bioclip_plugin.plugin_api import Detection

CELLS = 24  # per side
STRIP = 0.1  # of the height, with the camera's strips of text
STEP = 10  # grey levels beyond those of the border


class BorderDetector:
    """Draws one box around whatever is darker or brighter than the border."""

    name, version, side = "border", "1.0", 640
    description, licence = "The part of a photograph that differs from its border", "MIT"

    def identity(self):
        return {"name": self.name, "version": self.version}

    def detect(self, images, device):  # noqa: ARG002 - numpy needs no device
        return [list(boxes(image)) for image in images]


def boxes(image):
    high, wide = image.shape[:2]
    strip, n = int(high * STRIP), min(CELLS, high - 2 * int(high * STRIP), wide)
    tall, broad = (high - 2 * strip) // n, wide // n  # pixels of a cell
    cells = image[strip : strip + n * tall, : n * broad].reshape(n, tall, n, broad, 3).mean((1, 3))
    border = np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]])
    dark, bright = np.percentile(border, (5, 95), axis=0)
    beyond = np.maximum(dark - cells, cells - bright).max(axis=2)[1:-1, 1:-1]
    if (beyond > STEP).sum() > 0.01 * beyond.size:
        rows, columns = np.nonzero(beyond > STEP)
        x, y = (columns.min() + 1) * broad, (rows.min() + 1) * tall + strip
        w, h = (np.ptp(columns) + 1) * broad, (np.ptp(rows) + 1) * tall
        category = "vehicle" if w > 3 * h else "person" if h > 2 * w else "animal"
        confidence = min(1.0, beyond[beyond > STEP].mean() / 25)
        yield Detection(x / wide, y / high, w / wide, h / high, category, confidence)


@hookimpl
def register_detectors(register):
    register(BorderDetector())
