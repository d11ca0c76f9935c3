"""The process that makes an int8 model, begun by :mod:`bioclip_core.acceleration.quantising`."""

from __future__ import annotations

import sys


def main(model: str, images: str, output: str) -> None:
    """Quantise a model file with the images of an array file (N×H×W×3, uint8), and write the result to a file."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "not installed": nothing is sent
    import nncf
    import numpy as np
    import openvino

    images_NHWC = np.load(images, mmap_mode="r")
    data = nncf.Dataset([np.array(images_NHWC[row : row + 1]) for row in range(len(images_NHWC))])
    # For transformers NNCF smooths activations first (SmoothQuant), and takes their ranges from all images.
    found = nncf.quantize(
        openvino.Core().read_model(model), data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(images_NHWC)
    )
    openvino.save_model(found, output, compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
