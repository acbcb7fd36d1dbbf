"""The door: kinds by content, suffixes of results, one error for each wrong thing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srdeploy.errors import InputError, OutputError
from srdeploy.media import EncodeOptions, is_media, open_reader, open_writer, result_suffix
from srdeploy.media.kinds import sniff
from srdeploy.media.pictures import PictureReader, write_picture
from srdeploy.picture import Picture

GRAY = np.arange(64, dtype=np.uint8).reshape(8, 8)


def animation(path: Path, count: int) -> None:
    frames = [Image.fromarray(np.roll(GRAY, n, 0)) for n in range(count)]
    frames[0].save(path, save_all=count > 1, append_images=frames[1:])


def test_kind_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", Picture("gray", (GRAY,)))
    (tmp_path / "a.jpg").rename(tmp_path / "a.mp4")
    assert sniff(tmp_path / "a.mp4") == "jpeg"
    assert isinstance(open_reader(tmp_path / "a.mp4"), PictureReader)
    assert result_suffix(tmp_path / "a.mp4") == ".png"


@pytest.mark.parametrize(("count", "kind", "suffix"), [(1, "gif", ".png"), (3, "video", ".mp4")])
def test_gif_is_a_picture_or_a_video(count: int, kind: str, suffix: str, tmp_path: Path) -> None:
    animation(tmp_path / "a.gif", count)
    assert sniff(tmp_path / "a.gif") == kind
    assert result_suffix(tmp_path / "a.gif") == suffix
    assert len(list(open_reader(tmp_path / "a.gif"))) == count


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.PNG", True),
        ("a.jpeg", True),
        ("b.mkv", True),
        ("b.avi", True),
        ("c.txt", False),
        ("c", False),
        (".png", False),
    ],
)
def test_media_by_name(name: str, expected: bool) -> None:
    assert is_media(Path(name)) is expected


def test_suffix_of_the_result(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.tif", Picture("gray", (GRAY,)))
    assert result_suffix(tmp_path / "a.tif") == ".tif"
    (tmp_path / "a.ts").write_bytes((b"\x47" + bytes(187)) * 4)
    assert result_suffix(tmp_path / "a.ts") == ".ts"
    (tmp_path / "a.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    assert result_suffix(tmp_path / "a.mov") == ".mov"
    (tmp_path / "empty.mp4").touch()
    assert result_suffix(tmp_path / "empty.mp4") == ".mp4"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mp4", None, "there is no file"),
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"#EXTM3U\nfile:///etc/passwd\n", "text file"),
        ("noise.mp4", bytes(range(1, 256)) * 20, "."),
    ],
)
def test_wrong_sources_are_refused_in_one_line(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_reader(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_pictures_take_no_codec_and_never_replace_their_source(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture("gray", (GRAY,)))
    reader = open_reader(tmp_path / "a.png")
    with pytest.raises(OutputError, match="--codec"):
        open_writer(tmp_path / "b.png", reader, 8, 8, EncodeOptions(crf=3))
    with pytest.raises(OutputError, match="source itself"):
        open_writer(tmp_path / "a.png", reader, 8, 8)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(OutputError, match="source itself"):
        open_writer(tmp_path / "link.png", reader, 8, 8)


def test_frames_larger_than_asked_for_are_refused(tmp_path: Path) -> None:
    clip = Path(__file__).parents[2] / "samples" / "clip.mp4"
    animation(tmp_path / "a.gif", 3)
    for path, pixels in ((clip, 480 * 270), (tmp_path / "a.gif", 64)):
        open_reader(path, max_pixels=pixels).close()
        with pytest.raises(InputError, match=f"more than {pixels - 1};.*--max-pixels {pixels}"):
            open_reader(path, max_pixels=pixels - 1)


def test_a_limit_of_any_size_takes_no_memory(samples: Path) -> None:
    reader = open_reader(samples / "owl.png", max_pixels=1 << 60)
    reader.close()
