"""Videos as items: selection of frames, their numbers and moments, and messages about unusable files."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import av
import pytest
from opening_samples import cut, frame_number, write_sound, write_video

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted, item_of
from bioclip_plugin.opening import BuiltInMedia, frames, video
from bioclip_plugin.opening.frames import VideoFrames
from bioclip_plugin.opening.video import frames_of


def listed(path: Path, rate: float = 1.0, **fields: object) -> list[MediaItem | Unlisted]:
    return list(frames_of(replace(item_of(path), **fields), path, rate))  # type: ignore[arg-type]


def numbers(path: Path, rate: float = 1.0) -> list[int]:
    return [entry.frame for entry in listed(path, rate) if isinstance(entry, MediaItem)]


def troubles(path: Path, rate: float = 1.0) -> list[Unlisted]:
    return [entry for entry in listed(path, rate) if isinstance(entry, Unlisted)]


# -- selection of frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_one_frame_a_second_is_taken_and_keeps_its_number_in_the_video(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, 35, rate=10)
    assert numbers(path) == [0, 10, 20, 30]
    assert not troubles(path)


def test_frames_without_times_of_their_own_follow_each_other_at_the_stated_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 35, rate=10, codec="mpeg4")
    assert numbers(path) == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.5, [0, 20]), (2.5, [0, 4, 8, 12, 16, 20, 24]), (10, list(range(25))), (99, list(range(25)))],
)
def test_the_rate_decides_how_many_and_never_gives_a_frame_twice(
    tmp_path: Path, rate: float, expected: list[int]
) -> None:
    assert numbers(write_video(tmp_path / "a.mp4", 25, rate=10), rate) == expected


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_no_number_above_0_is_refused(tmp_path: Path, rate: float) -> None:
    with pytest.raises(UsageError, match="frames per second"):
        listed(write_video(tmp_path / "a.mp4", 5), rate)


def test_a_camera_that_slows_down_is_sampled_by_its_clock_and_a_pause_gives_no_frames(tmp_path: Path) -> None:
    # Ten frames at 10 per second, a pause of five seconds, ten frames at 2 per second.
    times = [*range(0, 1000, 100), *range(6000, 11000, 500)]
    path = write_video(tmp_path / "a.mkv", 20, milliseconds=times)
    items = [entry for entry in listed(path) if isinstance(entry, MediaItem)]
    assert [item.frame for item in items] == [0, 10, 12, 14, 16, 18]
    assert [item.metadata["video_seconds"] for item in items] == [0, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")]
)
def test_the_index_of_a_file_gives_the_frames_that_reading_it_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    steady = write_video(tmp_path / name, 47, rate=10, codec=codec)
    times = [number * 100 + (number > 20) * 1700 + (number % 3) * 20 for number in range(47)]
    uneven = (
        steady if name == "a.avi" else write_video(tmp_path / f"uneven-{name}", 47, codec=codec, milliseconds=times)
    )
    fast = [listed(path, 3) for path in (steady, uneven)]
    monkeypatch.setattr("bioclip_plugin.opening.video._indexed", lambda container, stream: None)
    assert [listed(path, 3) for path in (steady, uneven)] == fast


def test_a_listing_reads_the_index_and_not_the_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 35, rate=10)

    class Unread:
        """Stream whose packets must not be read."""

        def __init__(self, container: object) -> None:
            self._container = container

        def __getattr__(self, name: str) -> object:
            assert name != "demux"
            return getattr(self._container, name)

        def __enter__(self) -> Unread:
            return self

        def __exit__(self, *_: object) -> None:
            self._container.close()  # type: ignore[attr-defined]

    opened = video.opened
    monkeypatch.setattr(video, "opened", lambda path: Unread(opened(path)))
    assert numbers(path) == [0, 10, 20, 30]


def test_items_have_the_videos_uri_its_rate_and_the_metadata_of_the_source(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12, rate=10)
    first, second = listed(path, metadata={"note": "x", "frame_rate": 5}, deployment="D1", sequence="S1")
    assert isinstance(first, MediaItem)
    assert isinstance(second, MediaItem)
    assert first.uri == second.uri == str(path)
    assert (second.path, second.deployment, second.sequence) == (path, "D1", "S1")
    assert dict(second.metadata) == {"note": "x", "frame_rate": 5, "video_seconds": 1.0}


# -- time and place ----------------------------------------------------------------------------------------------------


def test_a_frames_moment_is_the_videos_creation_plus_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 25, rate=10, says={"creation_time": "2021-05-31T08:25:38Z"})
    started = datetime(2021, 5, 31, 8, 25, 38, tzinfo=UTC)
    moments = [entry.captured_at for entry in listed(path, 2) if isinstance(entry, MediaItem)]
    assert moments == [started + timedelta(seconds=seconds) for seconds in (0, 0.5, 1, 1.5, 2)]


def test_the_cameras_own_offset_and_place_win_over_utc(tmp_path: Path) -> None:
    says = {
        "creation_time": "2021-05-31T08:25:38Z",
        "com.apple.quicktime.creationdate": "2021-05-31T10:25:38+0200",
        "com.apple.quicktime.location.ISO6709": "+46.9480+007.4474+540.0/",
        "com.apple.quicktime.model": "iPhone 12",
    }
    options = {"movflags": "use_metadata_tags"}
    entry = listed(write_video(tmp_path / "a.mov", 5, says=says, options=options))[0]
    assert isinstance(entry, MediaItem)
    assert entry.captured_at == datetime(2021, 5, 31, 10, 25, 38, tzinfo=timezone(timedelta(hours=2)))
    assert entry.captured_at.utcoffset() == timedelta(hours=2)
    assert (entry.place.latitude, entry.place.longitude) == (46.948, 7.4474)
    assert entry.metadata["camera_model"] == "iPhone 12"


def test_time_and_place_from_the_source_win_over_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 15, rate=10, says={"creation_time": "2021-05-31T08:25:38Z"})
    moment = datetime(2020, 1, 1, 12)
    first, second = listed(path, captured_at=moment, place=Place(latitude=1, longitude=2))
    assert isinstance(first, MediaItem)
    assert isinstance(second, MediaItem)
    assert (first.captured_at, second.captured_at) == (moment, moment + timedelta(seconds=1))
    assert second.place == Place(latitude=1, longitude=2)


def test_a_time_and_place_that_the_source_states_and_nobody_can_read_are_not_replaced_by_the_files(
    tmp_path: Path,
) -> None:
    says = {"creation_time": "2021-05-31T08:25:38Z", "com.apple.quicktime.location.ISO6709": "+46.9480+007.4474/"}
    path = write_video(tmp_path / "a.mov", 5, says=says, options={"movflags": "use_metadata_tags"})
    (entry, *_) = listed(path, unread=frozenset({"captured_at", "position"}))
    assert isinstance(entry, MediaItem)
    assert (entry.captured_at, entry.place) == (None, Place())
    (other, *_) = listed(path, within=(date(1999, 1, 1), date(1999, 12, 31)))
    assert isinstance(other, MediaItem)
    assert (other.captured_at, other.place.latitude) == (None, 46.948)


@pytest.mark.parametrize("text", ["1904-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2021-05-31", "yesterday"])
def test_a_clock_that_was_never_set_is_no_moment(tmp_path: Path, text: str) -> None:
    entry = listed(write_video(tmp_path / "a.mkv", 5, says={"date": text}))[0]
    assert isinstance(entry, MediaItem)
    assert entry.captured_at is None


# -- unusable files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.mp4", "libx264")])
def test_a_truncated_video_gives_its_frames_up_to_there_and_a_reason(tmp_path: Path, name: str, codec: str) -> None:
    whole = write_video(
        tmp_path / name, 60, rate=10, codec=codec, options={"movflags": "faststart"} if "mp4" in name else None
    )
    path = cut(whole, tmp_path / f"cut-{name}", 0.6)
    items = numbers(path)
    assert 2 <= len(items) < 6
    assert items == [0, 10, 20, 30, 40, 50][: len(items)]
    (trouble,) = troubles(path)
    assert "truncated: it ends after" in trouble.reason
    assert trouble.frame > items[-1]
    assert frame_number(VideoFrames().frame(path, items[1])) == 10


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mp4", b"", "the file is empty"),
        ("b.mp4", b"no video at all, only words", "cannot be opened"),
        ("c.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\ngood.mp4\n#EXT-X-ENDLIST\n", "cannot be opened"),
        ("d.mp4", b"ffconcat version 1.0\nfile good.mp4\n", "cannot be opened"),
    ],
)
def test_a_file_that_is_not_a_video_is_one_clear_failure_and_a_playlist_is_never_followed(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    write_video(tmp_path / "good.mp4", 5)
    path = tmp_path / name
    path.write_bytes(content)
    (trouble,) = listed(path)
    assert isinstance(trouble, Unlisted)
    assert reason in trouble.reason


def test_a_file_with_sound_only_says_so(tmp_path: Path) -> None:
    (trouble,) = listed(write_sound(tmp_path / "a.mp4"))
    assert isinstance(trouble, Unlisted)
    assert "sound only" in trouble.reason


def test_a_video_without_frames_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    (trouble,) = listed(path)
    assert isinstance(trouble, Unlisted)
    assert "without frames" in trouble.reason


# -- frames as images --------------------------------------------------------------------------------------------------


def test_each_frame_is_the_one_of_its_number_whatever_the_order_of_asking(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 40)
    videos = VideoFrames()
    assert [frame_number(videos.frame(path, number)) for number in (0, 7, 8, 39, 3, 20)] == [0, 7, 8, 39, 3, 20]


def test_a_rotated_video_is_upright(tmp_path: Path) -> None:
    # as from a telephone held upright: rotated clockwise for display
    path = write_video(tmp_path / "a.mp4", 5, rotation=-90)
    image = VideoFrames().frame(path, 0)
    assert image.size == (64, 96)
    assert image.getpixel((60, 48)) != image.getpixel((10, 48))
    red, _, blue = image.getpixel((62, 48))  # type: ignore[misc]
    assert blue > 200 > red  # the bar of the upper edge is now on the right


def test_frames_in_order_are_decoded_once_by_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openings, decoded = [], []
    opened, image_of = frames.opened, frames._Reader._decoded
    monkeypatch.setattr(frames, "opened", lambda path: openings.append(path) or opened(path))

    def counted(reader, container, stream):  # type: ignore[no-untyped-def]
        for frame in image_of(reader, container, stream):
            decoded.append(1)
            time.sleep(0.001)
            yield frame

    monkeypatch.setattr(frames._Reader, "_decoded", counted)
    path = write_video(tmp_path / "a.mp4", 60)
    videos = VideoFrames()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: frame_number(videos.frame(path, number)), range(0, 60, 5)))
    assert found == list(range(0, 60, 5))
    # A thread that is overtaken before it has announced its frame costs one more opening; a quadratic reader opens 12.
    assert len(openings) <= 3
    assert len(decoded) <= 3 * 60


def open_videos(folder: Path) -> list[str]:
    """Return the files of a folder that this process holds open."""
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sorted(link.name for link in links if link.parent == folder)


def test_few_videos_stay_open_and_closing_gives_them_back(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{number}.mp4", 5) for number in range(6)]
    videos = VideoFrames(readers=2)
    for path in paths:
        assert frame_number(videos.frame(path, 1)) == 1
    assert open_videos(tmp_path) == [path.name for path in paths[-2:]]
    videos.close()
    assert open_videos(tmp_path) == []
    assert frame_number(videos.frame(paths[0], 2)) == 2


def test_threads_on_many_videos_at_once_each_get_their_frame(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{number}.mp4", 12) for number in range(4)]
    videos = VideoFrames(readers=2)
    asked = [(path, number) for number in (0, 5, 11, 2) for path in paths]
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(lambda one: frame_number(videos.frame(*one)), asked)) == [number for _, number in asked]
    assert threading.active_count() < 20


def test_a_frame_behind_the_end_is_its_own_failure_and_the_others_stay_good(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12)
    videos = VideoFrames()
    with pytest.raises(ImageError, match="no frame 40: the video has 12 frames"):
        videos.frame(path, 40)
    assert frame_number(videos.frame(path, 11)) == 11


def test_a_video_that_went_away_or_was_never_one_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist") as error:
        VideoFrames().frame(tmp_path / "gone.mp4", 0)
    assert error.value.stage == "read"
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ImageError, match="cannot be opened"):
        VideoFrames().frame(tmp_path / "text.mp4", 3)


def test_a_replaced_video_is_read_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 4)
    videos = VideoFrames()
    with pytest.raises(ImageError):
        videos.frame(path, 9)
    write_video(path, 12)
    assert frame_number(videos.frame(path, 9)) == 9


def test_damage_in_the_middle_costs_frames_there_and_not_the_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 60)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = b"\x00" * 40
    path.write_bytes(bytes(data))
    videos = VideoFrames()
    assert frame_number(videos.frame(path, 3)) == 3
    assert len(numbers(path)) >= 3


# -- through the hooks -------------------------------------------------------------------------------------------------


def test_only_a_whole_file_is_expanded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12)
    media, item, options = BuiltInMedia(), item_of(path), ListingOptions()
    assert len(list(media.expand_media(item, options) or ())) == 2
    region = Region(0, 0, 0.5, 0.5)
    for one in (replace(item, frame=7), replace(item, regions=(region,)), replace(item, detected=True)):
        assert media.expand_media(one, options) is None
    assert media.expand_media(item_of(tmp_path / "gone.mp4"), options) is None
    assert media.expand_media(item_of(tmp_path / "a.jpg"), options) is None


def test_an_item_of_a_detectors_file_opens_at_its_frame_number(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12)
    item = replace(item_of(path), frame=7, regions=(Region(0, 0, 0.5, 0.5, category="animal"),), detected=True)
    image = BuiltInMedia().open_media(item)
    assert image is not None
    assert frame_number(image) == 7


def test_without_the_extra_the_failure_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = write_video(tmp_path / "a.mp4", 5)
    monkeypatch.setitem(sys.modules, "av", None)
    (trouble,) = listed(path)
    assert isinstance(trouble, Unlisted)
    assert "pip install 'bioclip-plugin[video]'" in trouble.reason
    with pytest.raises(ImageError, match=r"bioclip-plugin\[video\]"):
        BuiltInMedia().open_media(item_of(path))


# -- clocks ------------------------------------------------------------------------------------------------------------


def first_time(path: Path, clock: str, findings: Findings | None = None) -> datetime | None:
    entry, *_ = frames_of(item_of(path), path, 1.0, clock, findings)  # type: ignore[arg-type]
    assert isinstance(entry, MediaItem)
    return entry.captured_at


def test_the_clock_of_a_video_is_utc_or_local_or_the_date_of_its_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5, rate=5, says={"creation_time": "2024-06-01T22:00:02Z"})
    os.utime(path, (0, datetime(2024, 5, 1, 8, 30).timestamp()))
    assert first_time(path, "utc") == datetime(2024, 6, 1, 22, 0, 2, tzinfo=UTC)
    assert first_time(path, "local") == datetime(2024, 6, 1, 22, 0, 2)
    assert first_time(path, "file-date") == datetime(2024, 5, 1, 8, 30)


def test_an_offset_that_the_camera_states_counts_whatever_the_clock(tmp_path: Path) -> None:
    written = {"com.apple.quicktime.creationdate": "2024-06-01T22:00:02+0200", "creation_time": "2024-06-01T20:00:02Z"}
    assert video._begins_at(tmp_path, written, "local") == datetime(2024, 6, 1, 20, 0, 2, tzinfo=UTC)
    assert video._begins_at(tmp_path, {"creation_time": written["creation_time"]}, "local") == datetime(
        2024, 6, 1, 20, 0, 2
    )


def test_a_video_without_a_time_is_reported_with_the_option_to_give(tmp_path: Path) -> None:
    path, findings = write_video(tmp_path / "a.avi", 5, rate=5, codec="mpeg4"), Findings()
    assert first_time(path, "utc", findings) is None
    assert [line for line in findings.lines() if "--video-clock file-date" in line and str(path) in line]
    assert first_time(path, "file-date", findings) is not None
