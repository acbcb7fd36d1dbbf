"""Every way to store a TIFF: read exactly as it was written by tifffile, or refused with what it is; never wrong."""

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from srdeploy.errors import InputError, MissingExtra
from srdeploy.media import open_reader, tiff_rare
from srdeploy.media.pictures import read_picture

imagecodecs = pytest.importorskip("imagecodecs")

DOWN, ACROSS = np.mgrid[0:24, 0:40]
BASE = np.dstack((ACROSS * 6 + DOWN, DOWN * 9 + ACROSS, (ACROSS + DOWN) * 3, DOWN * 4 + ACROSS * 2)) % 256
KINDS = {
    "white": (1, "miniswhite", []),
    "gray": (1, "minisblack", []),
    "gray alpha": (2, "minisblack", ["unassalpha"]),
    "rgb": (3, "rgb", []),
    "rgba": (4, "rgb", ["unassalpha"]),
    "rgbx": (4, "rgb", ["unspecified"]),
}
TYPES = {"u1": 255, "u2": 65535, "u4": 2**32 - 1, "i1": 0, "i2": 0, "f2": 1, "f4": 1, "f8": 1}
LOSSLESS = (None, "lzw", "zlib", "packbits", "zstd", "lzma", "lerc", "png")


def _samples(channels: int, kind: str) -> Any:
    base = BASE[..., :channels] if channels > 1 else BASE[..., 0]
    if kind[0] == "f":
        return (base / 255).astype(kind)
    if kind[0] == "i":
        return (base - 128).astype(kind) * (200 if kind == "i2" else 1)
    return base.astype(kind) * {"u1": 1, "u2": 257, "u4": 16843009}[kind]


def _ways() -> Any:
    for planes, packing, predictor, tile, order in itertools.product(
        ("contig", "separate"), LOSSLESS, (False, True), (None, (16, 16)), "<>"
    ):
        if not predictor or packing in ("lzw", "zlib", "zstd", "lzma"):
            yield planes, packing, predictor, tile, order


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_a_tiff_is_read_as_it_was_written(kind: str, dtype: str, tmp_path: Path) -> None:
    channels, model, extra = KINDS[kind]
    values = _samples(channels, dtype)
    seen = 0
    for planes, packing, predictor, tile, order in _ways():
        if channels == 1 and planes == "separate":
            continue
        path = tmp_path / "a.tif"
        options: dict[str, Any] = {"tile": tile} if tile else {"rowsperstrip": 7}
        if channels > 1:
            options["planarconfig"] = planes
        if extra:
            options["extrasamples"] = extra
        try:
            tifffile.imwrite(
                path,
                np.moveaxis(values, 2, 0) if planes == "separate" else values,
                photometric=model,
                compression=packing,
                predictor=predictor,
                byteorder=order,
                metadata=None,
                **options,
            )
        except (ValueError, RuntimeError, NotImplementedError, KeyError, tifffile.TiffFileError):
            continue  # what tifffile does not write: floats as PNG
        way = (planes, packing, predictor, tile, order)
        if kind == "white" and dtype[0] != "u":
            with pytest.raises(InputError, match="kind that is not read"):
                read_picture(path)
            continue
        reader = open_reader(path)
        (frame,) = reader
        _check(frame.picture, values, kind, dtype, way)
        if dtype != "u1" and dtype != "u2":
            assert reader.notes, way  # 8 and 16 bits stay; all else is said
        seen += 1
    assert seen >= 20 or kind == "white"


def _check(picture: Any, values: Any, kind: str, dtype: str, way: Any) -> None:
    assert picture.depth == (8 if dtype == "u1" else 16), way
    assert picture.layout == ("rgb" if kind.startswith("rgb") else "gray"), way
    color = values[..., :3] if kind.startswith("rgb") else values[..., 0] if values.ndim == 3 else values
    found, low, high = picture.planes[0].astype(float) / (255 if dtype == "u1" else 65535), 0.0, float(TYPES[dtype])
    if dtype[0] == "i":
        low, high = picture.span
        assert (low, high) == (min(0, color.min()), max(1, color.max())), way
    expected = (color.astype(float) - low) / (high - low)
    if kind == "white":
        expected = 1 - expected
    assert np.abs(found - expected).max() < 1e-5, way
    if kind in ("gray alpha", "rgba"):
        peak = TYPES[dtype] or np.iinfo(dtype).max
        share = np.clip(values[..., -1].astype(float) / peak, 0, 1)
        assert np.abs(picture.alpha / (255 if dtype == "u1" else 65535) - share).max() < 1e-5, way


@pytest.mark.parametrize("packing", ["jpeg", "webp", "jpegxl", "jpeg2000"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("kind", ["gray", "rgb"])
def test_a_tiff_of_a_picture_codec(packing: str, tile: Any, kind: str, tmp_path: Path) -> None:
    if packing == "webp" and kind == "gray":
        pytest.skip("WebP has no gray")
    values = _samples(3 if kind == "rgb" else 1, "u1")
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"tile": tile} if tile else {}
    tifffile.imwrite(path, values, photometric=KINDS[kind][1], compression=packing, metadata=None, **options)
    assert np.array_equal(read_picture(path).planes[0], tifffile.imread(path))


@pytest.mark.parametrize("bits", [2, 4, 6, 9, 10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_of_any_bits(bits: int, channels: int, tmp_path: Path) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, (20, 31, channels)).astype("u1" if bits < 9 else "u2")
    values = values if channels == 3 else values[..., 0]
    model = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=model, bitspersample=bits, metadata=None)
    picture = read_picture(tmp_path / "a.tif")
    peak = 255 if bits < 9 else 65535
    assert picture.depth == (8 if bits < 9 else 16)
    assert np.array_equal(picture.planes[0], np.rint(values * (peak / ((1 << bits) - 1))).astype(int))


@pytest.mark.parametrize("packing", [None, "lzw", "zstd", "jpegxl"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_cmyk_tiff_says_what_became_of_its_bits(packing: str | None, bits: int, tmp_path: Path) -> None:
    inks = _samples(4, f"u{bits // 8}")
    path = tmp_path / "a.tif"
    options = {"predictor": True} if packing == "lzw" else {}
    tifffile.imwrite(path, inks, photometric="separated", compression=packing, metadata=None, **options)
    stored = tifffile.imread(path)
    eight = stored if bits == 8 else np.rint(stored / 257).astype(np.uint8)
    reader = open_reader(path)
    (frame,) = reader
    expected = np.asarray(Image.fromarray(np.ascontiguousarray(eight), "CMYK").convert("RGB"))
    assert np.abs(frame.picture.planes[0].astype(int) - expected).max() <= 1
    assert ("16 bits" in " ".join(reader.notes)) == (bits == 16)
    assert "CMYK" in " ".join(reader.notes)


@pytest.mark.parametrize("packing", [None, "lzw", "zstd", "lerc"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_palette_tiff_has_its_colors(packing: str | None, tile: Any, tmp_path: Path) -> None:
    table = np.random.default_rng(3).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    index = _samples(1, "u1")
    options: dict[str, Any] = {"tile": tile} if tile else {}
    tifffile.imwrite(
        tmp_path / "a.tif", index, photometric="palette", colormap=table, compression=packing, metadata=None, **options
    )
    assert np.array_equal(read_picture(tmp_path / "a.tif").planes[0], np.moveaxis((table >> 8)[:, index], 0, -1))


def test_a_palette_of_two_colors_is_not_black_and_white(tmp_path: Path) -> None:
    image = Image.new("P", (10, 6))
    image.putpalette([200, 30, 10, 0, 90, 255])
    image.putdata([(i // 3) % 2 for i in range(60)])
    image.save(tmp_path / "a.tif", bits=1)
    assert np.array_equal(read_picture(tmp_path / "a.tif").planes[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("packing", [None, "jpeg"])
def test_a_ycbcr_tiff_has_the_colors_that_pillow_sees(packing: str | None, tmp_path: Path) -> None:
    source = Image.fromarray(_samples(3, "u1"))
    source.convert("YCbCr").save(tmp_path / "a.tif", compression=packing, quality=98)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric == 6
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(read_picture(tmp_path / "a.tif").planes[0] - expected).max() <= 2


def test_subsampled_ycbcr_without_compression(tmp_path: Path) -> None:
    luma = (np.arange(64).reshape(8, 8) * 3 + 30).astype(np.uint8)
    blue, red = np.full((4, 4), 90, np.uint8), np.full((4, 4), 170, np.uint8)
    blocks = luma.reshape(4, 2, 4, 2).swapaxes(1, 2).reshape(4, 4, 4)
    body = np.concatenate((blocks, blue[..., None], red[..., None]), axis=2).tobytes()
    tags = [(256, 3, (8,)), (257, 3, (8,)), (258, 3, (8, 8, 8)), (259, 3, (1,)), (262, 3, (6,)), (273, 4, (8,))]
    tags += [(277, 3, (3,)), (278, 3, (8,)), (279, 4, (len(body),)), (530, 3, (2, 2))]
    place = 8 + len(body)
    head, behind = struct.pack("<H", len(tags)), b""
    for tag, kind, numbers in tags:
        value = struct.pack(f"<{len(numbers)}{'HI'[kind - 3]}", *numbers)
        if len(value) > 4:
            behind, value = behind + value, struct.pack("<I", place + 2 + 12 * len(tags) + 4 + len(behind))
        head += struct.pack("<HHI", tag, kind, len(numbers)) + value.ljust(4, b"\0")
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", place) + body + head + b"\0\0\0\0" + behind)
    # ITU-R BT.601 of the whole range, as TIFF 6.0, section 21, has it.
    wide = luma.astype(float)[..., None] + np.array(
        [1.402 * (170 - 128), -0.344136 * (90 - 128) - 0.714136 * (170 - 128), 1.772 * (90 - 128)]
    )
    assert np.abs(read_picture(tmp_path / "a.tif").planes[0] - np.clip(wide, 0, 255)).max() <= 1.5


def test_premultiplied_deep_gray_is_freed(tmp_path: Path) -> None:
    gray, alpha = _samples(1, "u2"), np.full((24, 40), 32768, np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", np.dstack((gray // 2, alpha)), photometric="minisblack", extrasamples=["assocalpha"]
    )
    picture = read_picture(tmp_path / "a.tif")
    assert np.abs(picture.planes[0].astype(int) - gray).max() <= 3
    assert picture.alpha is not None and np.array_equal(picture.alpha, alpha)


@pytest.mark.parametrize("dtype", ["f2", "i2", "u2"])
def test_a_cut_or_spoilt_rare_tiff_is_damaged(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(_samples(3, dtype), 2, 0),
        photometric="rgb",
        planarconfig="separate",
        compression="zstd",
        rowsperstrip=7,
        metadata=None,
    )
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        last = file.pages[0].dataoffsets[-1]  # type: ignore[union-attr]
    read_picture(path)
    for bad in (whole[: len(whole) - 40], whole[:last] + b"\0" * 9 + whole[last + 9 :]):
        path.write_bytes(bad)
        with pytest.raises(InputError, match="damaged or cut off") as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packing", ["zstd", "jpegxl", "lerc", "webp", "jpeg2000", "png"])
def test_mutations_of_a_rare_tiff_end_in_one_line(packing: str, tmp_path: Path) -> None:
    random, path = np.random.default_rng(7), tmp_path / "a.tif"
    tile = {"tile": (16, 16)} if packing != "zstd" else {"planarconfig": "separate"}
    values = _samples(3, "u1" if packing == "webp" else "u2")
    values = np.moveaxis(values, 2, 0) if packing == "zstd" else values
    tifffile.imwrite(path, values, photometric="rgb", compression=packing, metadata=None, **tile)  # type: ignore[arg-type]
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        bad = bytearray(whole)
        for _ in range(random.integers(1, 5)):
            bad[random.integers(0, random.choice((60, 400, len(bad))))] = random.choice((0, 1, 127, 255))
        path.write_bytes(bad)
        try:
            read_picture(path, 10**6)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50


def test_a_kind_that_is_not_read_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, _samples(4, "f4"), photometric="separated", metadata=None)
    with pytest.raises(InputError, match=r"32-bit float CMYK of 4 channels, compression none\); convert it"):
        read_picture(path)
    tifffile.imwrite(path, np.zeros((8, 8, 6), np.uint8), photometric="rgb", planarconfig="contig", metadata=None)
    with pytest.raises(InputError, match="6 channels"):
        read_picture(path)


def test_without_the_libraries_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> Any:
        raise MissingExtra(f"{module} is needed for this and is not installed; type: pip install 'srdeploy[{extra}]'")

    tifffile.imwrite(tmp_path / "a.tif", _samples(3, "f2"), photometric="rgb", metadata=None)
    monkeypatch.setattr(tiff_rare, "require", missing)
    with pytest.raises(MissingExtra, match=r"srdeploy\[pictures\]"):
        read_picture(tmp_path / "a.tif")
