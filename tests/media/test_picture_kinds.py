"""The table of kinds: what is read of each, and what of it is in the result, by Pillow's word or tifffile's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from srdeploy.errors import InputError, OutputError
from srdeploy.media import open_reader, open_writer
from srdeploy.media.pictures import read_picture, write_picture

RANDOM = np.random.default_rng(5)
DOWN, ACROSS = np.mgrid[0:20, 0:30]
RGB = np.dstack((ACROSS * 8, DOWN * 12, (ACROSS + DOWN) * 5)).astype(np.uint8)
ALPHA = (DOWN * 13).astype(np.uint8)
GRAY = RGB[..., 0].copy()
DEEP = RANDOM.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

Rows = dict[str, tuple[str, Callable[[Path], None], Any, int]]
"""Name: suffix, how it is made, the pixels that are expected (their shape tells gray from colour), bits."""


def _pillow(mode: str, pixels: Any = RGB, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = Image.fromarray(pixels)
        (image if image.mode == mode else image.convert(mode)).save(path, **options)

    return make


def _cv(pixels: Any, *options: int) -> Callable[[Path], None]:
    return lambda path: cv2.imwrite(str(path), pixels, list(options)) and None


def _tiff(pixels: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def _bits(pixels: Any, bits: int) -> bytes:
    """A PNG of `bits` bits, gray, written here: Pillow writes gray in 1 and 8 bits only."""
    import struct
    import zlib

    height, width = pixels.shape
    rows = b""
    for row in pixels >> (8 - bits):
        flags = np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()
        rows += b"\0" + np.packbits(flags).tobytes()

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _gray_png(bits: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(_bits(GRAY, bits)) and None


KINDS: Rows = {
    "png 1 bit": (".png", _gray_png(1), np.where(GRAY >= 128, 255, 0), 8),
    "png 2 bit": (".png", _gray_png(2), (GRAY >> 6) * 85, 8),
    "png 4 bit": (".png", _gray_png(4), (GRAY >> 4) * 17, 8),
    "png gray": (".png", _pillow("L", GRAY), GRAY, 8),
    "png 16 bit": (".png", _cv(DEEP[..., ::-1]), DEEP, 16),
    "png 16 bit gray": (".png", _cv(DEEP[..., 0]), DEEP[..., 0], 16),
    "png palette": (".png", lambda path: Image.fromarray(GRAY).convert("P").save(path), None, 8),
    "jpeg gray": (".jpg", _pillow("L", GRAY), None, 8),
    "jpeg progressive": (".jpg", _pillow("RGB", progressive=True), None, 8),
    "jpeg 4:2:0": (".jpg", _pillow("RGB", subsampling=2), None, 8),
    "webp": (".webp", _pillow("RGB", lossless=True), RGB, 8),
    "webp lossy": (".webp", _pillow("RGB"), None, 8),
    "bmp": (".bmp", _pillow("RGB"), RGB, 8),
    "bmp palette": (".bmp", _pillow("P"), None, 8),
    "tiff tiled": (".tif", _tiff(RGB, tile=(16, 16), photometric="rgb"), RGB, 8),
    "tiff planar": (".tif", _tiff(DEEP, photometric="rgb", compression="zlib"), DEEP, 16),
    "tiff big": (".tif", _tiff(RGB, bigtiff=True, photometric="rgb"), RGB, 8),
    "tiff big-endian": (".tif", _tiff(DEEP, byteorder=">", photometric="rgb"), DEEP, 16),
    "tiff white is zero": (".tif", _tiff(GRAY, photometric="miniswhite"), 255 - GRAY, 8),
    "tiff 1 bit": (".tif", _pillow("1", GRAY, compression="group4"), None, 8),
    "avif": (".avif", _pillow("RGB", quality=90), None, 8),
    "avif 10 bit": (".avif", _cv(DEEP >> 6, cv2.IMWRITE_AVIF_DEPTH, 10), None, 10),
    "ppm": (".ppm", _pillow("RGB"), RGB, 8),
    "ppm 16 bit": (".ppm", _cv(DEEP[..., ::-1]), DEEP, 16),
    "pgm": (".pgm", _pillow("L", GRAY), GRAY, 8),
    "pbm": (".pbm", _pillow("1", GRAY), None, 8),
    "gif": (".gif", _pillow("P"), None, 8),
    "gif gray": (".gif", _pillow("L", GRAY), GRAY, 8),
    "ico": (".ico", _pillow("RGB", sizes=[(16, 16)]), None, 8),
    "jpeg 2000": (".jp2", _pillow("RGB"), RGB, 8),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_and_enlarged(name: str, tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    suffix, make, expected, depth = KINDS[name]
    source = tmp_path / f"in{suffix}"
    make(source)
    picture = read_picture(source)
    assert picture.depth == depth
    if expected is None and depth == 8:
        with Image.open(source) as image:
            gray = image.mode in ("1", "L")
            expected = np.asarray(image.convert("L" if gray else "RGB"))
            if image.mode == "RGBA":
                assert picture.alpha is not None
    if expected is not None:
        assert picture.planes[0].shape == expected.shape
        assert np.array_equal(picture.planes[0], expected)
    result = tmp_path / ("out.jpg" if suffix == ".jpg" else "out.png")
    enlarge_file(source, result)
    big = read_picture(result)
    assert big.layout == picture.layout
    if suffix != ".jpg" and depth in (8, 16):
        assert np.array_equal(big.planes[0][::2, 1::2], picture.planes[0])


@pytest.mark.parametrize("name", ["basi4a16", "basi6a16", "basn4a08", "basn6a08", "pp0n6a08", "tbwn3p08"])
def test_png_alpha_of_every_depth(name: str, shared: Path) -> None:
    path = shared / f"data/odd/pngsuite/{name}.png"
    picture = read_picture(path)
    assert picture.alpha is not None and picture.alpha.dtype == picture.planes[0].dtype
    assert picture.depth == (16 if name.endswith("16") else 8)
    with Image.open(path) as image:
        theirs = np.asarray(image.convert("RGBA"))
    shift = picture.depth - 8
    assert np.abs((picture.alpha >> shift).astype(int) - theirs[..., 3]).max() <= 1
    shown = theirs[..., 0] if picture.layout == "gray" else theirs[..., :3]
    assert np.abs((picture.planes[0] >> shift).astype(int) - shown).max() <= 1


def _cmyk(path: Path, **options: Any) -> Any:
    image = Image.merge("CMYK", [Image.fromarray(channel) for channel in (GRAY, ALPHA, RGB[..., 2], GRAY // 3)])
    image.save(path, **options)
    return image


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb_and_says_so(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    _cmyk(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    reader = open_reader(path)
    (frame,) = reader
    assert np.array_equal(frame.picture.planes[0], expected)
    assert "CMYK" in reader.notes[0]
    assert frame.picture.icc is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_tiff_keeps_its_range(dtype: Any, tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    values = (RANDOM.random((20, 30, 3)) * 7 - 2).astype(dtype)
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, values, photometric="rgb")
    picture = read_picture(source)
    assert picture.depth == 16
    assert picture.span == pytest.approx((values.min(), values.max()))
    notes = enlarge_file(source, tmp_path / "b.tif")
    assert "float" in notes[0]
    big = tifffile.imread(tmp_path / "b.tif")
    assert big.dtype == np.float32
    assert np.abs(big[::2, ::2] - values).max() < 1e-4
    assert any("floats become 16 bits" in note for note in enlarge_file(source, tmp_path / "b.png"))
    tifffile.imwrite(source, np.full((4, 4, 3), np.nan, dtype), photometric="rgb")
    with pytest.raises(InputError, match="NaN"):
        read_picture(source)


def test_pfm_is_read_and_written(tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    values = RANDOM.random((6, 5)).astype("<f4")
    (tmp_path / "a.pfm").write_bytes(b"Pf\n5 6\n-1.0\n" + values[::-1].tobytes())  # rows stand bottom up
    picture = read_picture(tmp_path / "a.pfm")
    assert (picture.layout, picture.depth) == ("gray", 16)
    assert np.abs(picture.planes[0] / 65535 - values).max() < 1e-5
    enlarge_file(tmp_path / "a.pfm", tmp_path / "b.pfm")
    head, body = (tmp_path / "b.pfm").read_bytes().split(b"\n-1", 1)
    assert head == b"Pf\n10 12"
    again = np.frombuffer(body.split(b"\n", 1)[1], "<f4").reshape(12, 10)[::-1]
    assert np.abs(again[::2, ::2] - values).max() < 1e-4


@pytest.mark.parametrize("deep", [False, True])
def test_every_page_of_a_tiff(deep: bool, tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    pages = [DEEP if deep else RGB, GRAY, RGB[:9, :13].copy()]  # of several sizes and kinds
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", resolution=(300, 300))
    notes = enlarge_file(tmp_path / "a.tif", tmp_path / "b.tif", 3)
    assert notes == []
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert len(file.pages) == 3
        for big, small in zip(file.pages, pages, strict=True):
            assert np.array_equal(big.asarray()[1::3, 1::3], small)
            assert big.get_resolution("inch") == (300, 300)
    with Image.open(tmp_path / "b.tif") as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
    reader = open_reader(tmp_path / "a.tif")
    with pytest.raises(OutputError, match="3 pages"):
        open_writer(tmp_path / "b.png", reader, 60, 40)


def test_premultiplied_tiff_is_freed(tmp_path: Path) -> None:
    alpha = np.full((20, 30), 128, np.uint8)
    stored = np.dstack((RGB // 2, alpha))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.alpha is not None
    assert np.abs(picture.planes[0].astype(int) - RGB).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".bmp", ".tif"])
def test_resolution_is_carried_over(
    suffix: str, target: str, tmp_path: Path, enlarge_file: Callable[..., list[str]]
) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}", dpi=(300, 150))
    enlarge_file(tmp_path / f"a{suffix}", tmp_path / f"b{target}")
    with Image.open(tmp_path / f"b{target}") as image:
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.1)


def test_resolution_of_a_turned_picture_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.jpg", dpi=(300, 150), exif=exif)
    assert read_picture(tmp_path / "a.jpg").dpi == (150, 300)


def test_exif_says_the_new_size_and_keeps_the_rest(tmp_path: Path, enlarge_file: Callable[..., list[str]]) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0xA002] = 30
    exif.get_ifd(0x8769)[0xA003] = 20
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    exif.get_ifd(0x8825)[1] = "N"
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    write_picture(tmp_path / "a.tif", read_picture(tmp_path / "a.jpg"))
    for suffix in (".jpg", ".tif"):
        for target in (".jpg", ".png", ".webp", ".tif"):
            enlarge_file(tmp_path / f"a{suffix}", tmp_path / f"b{target}")
            with Image.open(tmp_path / f"b{target}") as image:
                found = image.getexif()
                assert found[0x010F] == "a maker"
                inner = found.get_ifd(0x8769)
                assert (inner[0xA002], inner[0xA003]) == (60, 40)
                assert inner[0x9286] == b"ASCII\0\0\0a comment"
                assert found.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("turn", range(1, 9))
def test_avif_is_turned_and_keeps_its_profile(turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(RGB).save(tmp_path / "a.avif", exif=exif, icc_profile=PROFILE, quality=95)
    with Image.open(tmp_path / "a.avif") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    picture = read_picture(tmp_path / "a.avif")
    assert picture.icc == PROFILE
    assert picture.planes[0].shape == upright.shape
    assert np.abs(picture.planes[0].astype(int) - upright).max() <= 2


def test_heif_and_jpeg_xl_by_their_libraries(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    pytest.importorskip("pillow_jxl")
    heif.from_bytes("RGB", (30, 20), RGB.tobytes()).save(tmp_path / "a.heic", quality=-1)
    assert np.abs(read_picture(tmp_path / "a.heic").planes[0].astype(int) - RGB).max() < 8
    Image.fromarray(RGB).save(tmp_path / "a.jxl", lossless=True)
    assert np.array_equal(read_picture(tmp_path / "a.jxl").planes[0], RGB)
    Image.fromarray(DEEP[..., 0]).save(tmp_path / "b.jxl", lossless=True)
    assert np.array_equal(read_picture(tmp_path / "b.jxl").planes[0], DEEP[..., 0])


def test_a_damaged_jpeg_xl_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jxl").write_bytes(b"\xff\x0a" + bytes(range(200)))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    for name in ("a.jxl", "a.heic"):
        with pytest.raises(Exception, match=name) as caught:  # InputError, or MissingExtra without the library
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turn_that_only_xmp_knows_is_applied_and_reset(turn: int, tmp_path: Path) -> None:
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="{turn}"/>'.encode()
    Image.fromarray(RGB).save(tmp_path / "a.jpg", xmp=packet, quality=100, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    picture = read_picture(tmp_path / "a.jpg")
    assert np.abs(picture.planes[0].astype(int) - upright).max() <= 3
    assert picture.xmp == packet.replace(str(turn).encode() + b'"', b'1"')
