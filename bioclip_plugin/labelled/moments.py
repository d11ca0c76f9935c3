"""Camera and time of an image file, by which images of a burst are kept together."""

from __future__ import annotations

from datetime import UTC

from bioclip_plugin.items.metadata import read_metadata


def moment_of(data: bytes) -> tuple[str, float] | None:
    """Return the camera of an image and its capture time in seconds; None if the file does not state the time."""
    metadata = read_metadata(data)
    if metadata.captured_at is None:
        return None
    camera = " ".join(filter(None, (metadata.camera_make, metadata.camera_model, metadata.camera_serial_number)))
    # The clock's time is enough, since one camera does not change its zone within a burst.
    return camera, metadata.captured_at.replace(tzinfo=UTC).timestamp()
