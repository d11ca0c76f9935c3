"""Headers with any bytes in them: an image or a reason, in bounded time and memory, and nothing else."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pixel_samples import GREY, TRUTH, box, codestream, decoded, deep, handmade, inverted, jp2, jpeg2000, tags_of, tiff

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import decode_regions
from bioclip_core.images.readers import content_key, is_marked, is_read_by_us
from bioclip_core.preprocessing import Preprocessing

_WHOLE = [
    tiff(deep(TRUTH, 16), "rgb", planarconfig="separate"),
    tiff(inverted(deep(GREY, 16), 16), "miniswhite", tile=(16, 16), compression="deflate"),
    tiff(deep(TRUTH, 12), "rgb", bitspersample=12, rowsperstrip=3),
    tiff((TRUTH / 255).astype("f4"), "rgb", compression="deflate", predictor=True),
    tiff(TRUTH, "rgb", byteorder=">"),
    handmade({**tags_of([8], 3), 320: (3, list(range(256)) * 3)}, GREY.tobytes(), big=True),
    jpeg2000(deep(TRUTH, 12), 12, codecformat="jp2"),
    jpeg2000(TRUTH, 8),
    jp2(codestream([TRUTH[..., 0]] * 3), 3, more=box(b"cdef", struct.pack(">10H", 3, 0, 0, 3, 1, 0, 2, 2, 0, 1))),
]


def outcome(data: bytes) -> object:
    """Decode a file under two filters of warnings; return the shape of its pixels, or the type of the error."""
    found: list[tuple[object, object]] = []
    for action in ("ignore", "error"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)  # type: ignore[arg-type]
            try:
                (pixels,) = decode_regions(data, [None], Preprocessing(size=8), max_pixels=1_000_000)
                found.append((pixels.shape, pixels.tobytes()))
            except ImageError as error:
                found.append((type(error), str(error)))
    assert found[0] == found[1]
    return found[0][0]


@given(
    which=st.integers(0, len(_WHOLE) - 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 2, 4, 8, 127, 128, 254, 255])), max_size=8),
    share=st.one_of(st.just(1.0), st.floats(0, 1)),
)
@settings(max_examples=300, deadline=None)
def test_bytes_of_a_header_that_are_changed_give_an_image_or_a_reason(
    which: int, changes: list[tuple[float, int]], share: float
) -> None:
    data = bytearray(_WHOLE[which])
    for place, value in changes:
        data[int(place * min(len(data) - 1, 500))] = value
    assert outcome(bytes(data[: int(len(data) * share)])) in (ImageError, (8, 8, 3))


_numbers = st.sampled_from([0, 1, 2, 3, 7, 8, 12, 16, 24, 255, 65_535, 2**31, 2**32 - 1])


@given(
    tags=st.dictionaries(
        st.sampled_from(
            [
                254,
                256,
                257,
                258,
                259,
                262,
                266,
                274,
                277,
                278,
                281,
                284,
                317,
                320,
                322,
                323,
                332,
                338,
                339,
                341,
                530,
                32997,
            ]
        ),
        st.tuples(st.sampled_from([1, 3, 4, 16]), st.lists(_numbers, min_size=1, max_size=4)),
        max_size=6,
    ),
    bits=st.sampled_from([1, 8, 12, 16, 32]),
    samples=st.integers(1, 5),
    order=st.sampled_from("<>"),
    big=st.booleans(),
)
@example(tags={322: (4, [2**31]), 323: (4, [2**31])}, bits=8, samples=3, order="<", big=False)
@example(tags={277: (4, [2**32 - 1])}, bits=8, samples=1, order="<", big=False)
@settings(max_examples=300, deadline=None)
def test_tags_with_any_values_give_an_image_or_a_reason(
    tags: dict[int, tuple[int, list[int]]], bits: int, samples: int, order: str, big: bool
) -> None:
    most = {1: 2**8, 3: 2**16, 4: 2**32, 16: 2**64}
    tags = {tag: (kind, [value % most[kind] for value in values]) for tag, (kind, values) in tags.items()}
    data = handmade({**tags_of([bits] * samples, 1), **tags}, bytes(4000), order=order, big=big)
    assert outcome(data) in (ImageError, (8, 8, 3))


@given(
    st.binary(max_size=300),
    st.sampled_from([b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"\xff\x4f\xff\x51", jp2(b"", 3)[:40]]),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_behind_a_signature_give_a_reason(data: bytes, signature: bytes) -> None:
    assert outcome(signature + data) in (ImageError, (8, 8, 3))


def test_headers_that_overlap_end_the_search_for_pages() -> None:
    # Each header begins four bytes behind the one before and claims the rest of the file.
    data = bytearray(b"II*\0" + struct.pack("<I", 8) + bytes(2_000_000))
    for at in range(8, 400_000, 4):
        struct.pack_into("<H", data, at, 60_000)
    with pytest.raises(ImageError, match="there is no page 3"):
        decoded(bytes(data), frame=2)


# -- the key of a content ------------------------------------------------------------------------------------------------


def test_the_key_of_a_file_that_pillow_misreads_is_marked_and_that_of_others_is_their_hash() -> None:
    sha256 = "ab" * 32
    for data in (tiff(TRUTH, "rgb"), jpeg2000(TRUTH, 8), tiff(deep(TRUTH, 16), "rgb"), b"\xff\xd8\xff", b"", b"II*\0"):
        assert not is_read_by_us(data)
        assert content_key(sha256, is_read_by_us(data)) == sha256
    for data in (tiff(deep(TRUTH, 16), "rgb", planarconfig="separate"), jpeg2000(deep(TRUTH, 12), 12)):
        key = content_key(sha256, is_read_by_us(data))
        assert is_marked(key)
        assert (len(key), key[8:]) == (64, sha256[8:])


def test_the_reader_of_a_page_is_that_of_its_own_kind() -> None:
    import io

    import tifffile

    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(TRUTH, photometric="rgb", metadata=None)
        writer.write(np.moveaxis(deep(TRUTH, 16), -1, 0), photometric="rgb", planarconfig="separate", metadata=None)
    assert [is_read_by_us(stream.getvalue(), page) for page in (0, 1, 2)] == [False, True, False]
