"""Pictures: what is read and written, by Pillow's word; bad input in one line and without chatter."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from srdeploy.errors import InputError, OutputError
from srdeploy.media.pictures import PictureReader, PictureWriter, check_picture_target, read_picture, write_picture
from srdeploy.picture import Frame, Picture

XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="w"?>'
ORIENTATION = 0x0112


def noise(*shape: int, deep: bool = False) -> Any:
    kind: Any = np.uint16 if deep else np.uint8
    return np.random.default_rng(3).integers(0, 65536 if deep else 256, shape).astype(kind)


def smooth(height: int = 48, width: int = 64) -> Any:
    down, across = np.mgrid[0:height, 0:width]
    return np.dstack((across * 3, down * 4, (across + down) * 2)).astype(np.uint8)


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(smooth(24, 32)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tif", ".tiff", ".PNG"])
@pytest.mark.parametrize("layout", ["rgb", "gray", "alpha"])
def test_lossless_formats_give_back_every_sample(suffix: str, layout: str, tmp_path: Path) -> None:
    pixels = noise(13, 21) if layout == "gray" else noise(13, 21, 3)
    alpha = noise(13, 21) | 1 if layout == "alpha" else None
    picture = Picture("gray" if layout == "gray" else "rgb", (pixels,), alpha=alpha)
    path = tmp_path / f"größe 中{suffix}"
    write_picture(path, picture)
    with Image.open(path) as image:
        mode = {"rgb": "RGB", "gray": "L", "alpha": "RGBA"}[layout]
        theirs = np.asarray(image.convert(mode))
    assert np.array_equal(theirs[..., :3] if layout != "gray" else theirs, pixels)
    back = read_picture(path)
    if suffix == ".webp" and layout == "gray":
        assert np.array_equal(back.planes[0][..., 1], pixels)  # WebP has no gray
    else:
        assert back.layout == picture.layout
        assert np.array_equal(back.planes[0], pixels)
    assert (back.alpha is None) == (alpha is None)
    assert alpha is None or np.array_equal(back.alpha, alpha)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay_sixteen(suffix: str, channels: int, tmp_path: Path) -> None:
    pixels = noise(9, 14, deep=True) if channels == 1 else noise(9, 14, 3, deep=True)
    alpha = noise(9, 14, deep=True) if channels == 4 else None
    write_picture(tmp_path / f"a{suffix}", Picture("gray" if channels == 1 else "rgb", (pixels,), 16, alpha=alpha))
    back = read_picture(tmp_path / f"a{suffix}")
    assert (back.depth, back.dtype) == (16, np.uint16)
    assert np.array_equal(back.planes[0], pixels)
    assert alpha is None or np.array_equal(back.alpha, alpha)  # type: ignore[arg-type]
    if channels == 1:
        with Image.open(tmp_path / f"a{suffix}") as image:
            assert np.array_equal(np.asarray(image).astype(np.uint16), pixels)


def test_ten_bits_are_stretched_to_sixteen(tmp_path: Path) -> None:
    pixels = np.array([[0, 1, 512, 1023]], np.uint16)
    write_picture(tmp_path / "a.png", Picture("gray", (pixels,), 10))
    assert read_picture(tmp_path / "a.png").planes[0].tolist() == [[0, 64, 32800, 65535]]


def test_jpeg_is_good_and_keeps_its_chroma(tmp_path: Path) -> None:
    pixels = smooth()
    pixels[:, 32:] = (200, 30, 30)
    write_picture(tmp_path / "a.jpg", Picture("rgb", (pixels,)))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)  # type: ignore[attr-defined]
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 1.5


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_png_modes_equal_pillow(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(noise(12, 18, 3)).convert("L" if mode in {"1", "I;16"} else mode)
    if mode == "1":
        image = image.convert("1")
    if mode == "I;16":
        image = Image.fromarray(noise(12, 18, deep=True))
    image.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    gray = mode in {"1", "L", "LA", "I;16"}
    assert picture.layout == ("gray" if gray else "rgb")
    wanted = np.asarray(image) if mode == "I;16" else np.asarray(image.convert("L" if gray else "RGB"))
    assert np.array_equal(picture.planes[0], wanted)
    assert (picture.alpha is not None) == mode.endswith("A")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_and_reset(orientation: int, suffix: str, tmp_path: Path) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010E] = "seen by us"
    image = Image.fromarray(smooth())
    image.save(tmp_path / f"a{suffix}", exif=exif, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    with Image.open(tmp_path / f"a{suffix}") as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.planes[0].shape == upright.shape
    assert np.abs(picture.planes[0] - upright).max() <= 3
    write_picture(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as again:
        assert again.getexif().get(ORIENTATION, 1) == 1
        assert again.getexif()[0x010E] == "seen by us"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tiff"])
def test_icc_exif_and_xmp_are_carried_over(suffix: str, target: str, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    image = Image.fromarray(smooth())
    if suffix in (".png", ".tif"):
        write_picture(
            tmp_path / f"a{suffix}", Picture("rgb", (smooth(),), icc=profile, exif=exif.tobytes()[6:], xmp=XMP)
        )
    else:
        image.save(tmp_path / f"a{suffix}", icc_profile=profile, exif=exif, xmp=XMP)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert (picture.icc, picture.xmp) == (profile, XMP)
    write_picture(tmp_path / f"b{target}", picture)
    with Image.open(tmp_path / f"b{target}") as opened:
        opened.load()
        assert opened.info["icc_profile"] == profile
        assert opened.getexif()[0x010F] == "a maker"
        assert (opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp", "").encode()) == XMP


def test_metadata_that_the_target_cannot_hold_is_said(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_picture(tmp_path / "a.png", Picture("rgb", (smooth(),), icc=profile))
    reader = PictureReader(tmp_path / "a.png")
    assert "ICC profile not kept" in PictureWriter(tmp_path / "b.bmp", reader, 64, 48).notes[0]
    assert PictureWriter(tmp_path / "b.png", reader, 64, 48).notes == []


def test_profile_that_png_refuses_costs_the_profile_and_not_the_picture(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", icc_profile=b"no profile at all" * 10)
    reader = PictureReader(tmp_path / "a.jpg")
    with PictureWriter(tmp_path / "b.png", reader, 64, 48) as writer:
        assert "ICC profile" in writer.notes[0]
        writer.write(next(iter(reader)))
    assert read_picture(tmp_path / "b.png").icc is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_every_truncation_is_an_input_error(kind: str, tmp_path: Path) -> None:
    data = encoded(kind)
    path = tmp_path / "cut"
    # The last bytes of PNG (IEND), TIFF and BMP (padding) hold no pixels, and JPEG's EOI is two.
    slack = {"PNG": 12, "JPEG": 2, "TIFF": 300, "BMP": 0, "WEBP": 2}[kind]
    for size in range(1, len(data) - slack, max(1, len(data) // 150)):
        path.write_bytes(data[:size])
        with pytest.raises(InputError) as caught:
            PictureReader(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        (b"", "empty"),
        (b"a note\nabout a picture\n", "text file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged"),
        (bytes(range(256)) * 4, "no picture"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0\1\0\0\0\1\0\0" + bytes(9), "claims 65536x65536"),
        (b"P6 99999 99999 255\n\xff\xfe" + bytes(99), "claims 99999x99999"),
        (encoded("PNG")[:33] + b"\xbe\0\0\0IDAT" + bytes(99), "ends inside a chunk"),
    ],
)
def test_bad_input_is_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)


def test_folder_is_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_picture(tmp_path)
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_picture(tmp_path / "a.png", Picture("rgb", (smooth(),)))


@pytest.mark.parametrize(
    ("name", "size", "change", "message"),
    [
        ("a.webp", (16384, 10), {}, "ends at 16383"),
        ("a.jpg", (10, 65536), {}, "ends at 65535"),
        ("a.jpg", (64, 48), {"depth": 16}, "8 bits"),
        ("a.webp", (64, 48), {"depth": 16}, "8 bits"),
        ("a.bmp", (64, 48), {"depth": 16}, "8 bits"),
        ("a.jpg", (64, 48), {"alpha": np.zeros((48, 64), np.uint8)}, "alpha"),
        ("a.pfm", (64, 48), {"alpha": np.zeros((48, 64), np.uint8)}, "alpha"),
        ("a.xyz", (64, 48), {}, "no picture of the kind"),
        ("missing/a.png", (64, 48), {}, "no folder"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_computing(
    name: str, size: tuple[int, int], change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    picture = replace(Picture("rgb", (smooth(),)), **change)
    with pytest.raises(OutputError, match=message) as caught:
        check_picture_target(tmp_path / name, *size, picture)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(part: Path, path: Path, picture: Picture) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("srdeploy.media.pictures.write_to", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_picture(path, Picture("rgb", (smooth(),)))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_reader_and_writer_are_a_stream_of_one(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture("rgb", (smooth(),)))
    reader = PictureReader(tmp_path / "a.png")
    assert (reader.frames, reader.width, reader.height) == (1, 64, 48)
    frames = list(reader)
    assert [f.pts for f in frames] == [0]
    with PictureWriter(tmp_path / "b.png", reader, 64, 48) as writer:
        writer.write(frames[0])
        assert not (tmp_path / "b.png").exists()
    assert np.array_equal(read_picture(tmp_path / "b.png").planes[0], smooth())
    with pytest.raises(RuntimeError), PictureWriter(tmp_path / "c.png", reader, 64, 48) as writer:
        writer.write(frames[0])
        raise RuntimeError
    with pytest.raises(ValueError, match="8x8"), PictureWriter(tmp_path / "c.png", reader, 64, 48) as writer:
        writer.write(Frame(Picture("rgb", (smooth(8, 8),))))
    assert not (tmp_path / "c.png").exists()


def test_decoders_stay_quiet_and_others_are_heard(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(encoded("JPEG")[:-200])
    (tmp_path / "bad.png").write_bytes(encoded("PNG")[:60] + b"?" + encoded("PNG")[61:])
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom srdeploy.errors import InputError\n"
        "from srdeploy.media.pictures import read_picture\nfrom srdeploy.quiet import captured_stderr\n"
        "for name in sys.argv[1:]:\n    try:\n        read_picture(Path(name))\n    except InputError as e:\n"
        "        print(e)\nwith captured_stderr([]):\n    os.write(2, b'heard\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cut.jpg"), str(tmp_path / "bad.png")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == "heard\n"


def test_a_last_line_is_not_lost_in_what_another_thread_captures() -> None:
    program = (
        "import os, threading, time\nfrom srdeploy.cli.answer import note\n"
        "from srdeploy.quiet import captured_stderr\nbegun = threading.Event()\n"
        "def work():\n    with captured_stderr([]):\n        begun.set()\n        time.sleep(0.2)\n"
        "threading.Thread(target=work).start()\nbegun.wait()\nnote('interrupted')\nos._exit(130)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_same_photo_in_all_orientations(shared: Path) -> None:
    pictures = [read_picture(p) for p in sorted((shared / "data/odd/exif-orientation").glob("Landscape_*.jpg"))]
    assert len(pictures) == 8
    small = [p.planes[0][::40, ::40].astype(int) for p in pictures]
    assert all(np.abs(s - small[0]).mean() < 6 for s in small)


def test_odd_pictures_are_read_like_pillow_or_refused_in_one_line(
    shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    read = 0
    for path in sorted((shared / "data/odd/pngsuite").glob("*.png")):
        try:
            picture = read_picture(path)
        except InputError as error:
            assert path.name.startswith("x"), error
            continue
        read += 1
        assert not path.name.startswith("x")
        if picture.depth == 8 and picture.alpha is None:
            with Image.open(path) as image:
                if image.mode not in {"I", "I;16"} and "transparency" not in image.info:
                    theirs = np.asarray(image.convert("L" if picture.layout == "gray" else "RGB"))
                    assert np.array_equal(picture.planes[0], theirs), path.name
    assert read > 70
    assert capfd.readouterr().err == ""
