"""Small images, and clients of an app."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from bioclip_plugin.serving.app import create_app
from bioclip_plugin.serving.state import Workbench

TOKEN = "a-token-of-the-tests-0123456789"
ADDRESS = "http://127.0.0.1:8710"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def jpeg(seed: int = 1) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((90, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


def client_of(bench: Workbench, headers: dict[str, str] = BEARER) -> TestClient:
    return TestClient(
        create_app(bench), ADDRESS, headers=headers, raise_server_exceptions=False, follow_redirects=False
    )
