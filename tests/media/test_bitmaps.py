"""PAM, PNM and BMP in all their forms: by FFmpeg's word, Pillow's, or their standards' arithmetic."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from srdeploy.errors import InputError
from srdeploy.media.pictures import read_picture

RANDOM = np.random.default_rng(11)


@pytest.mark.parametrize("name", ["BLACKANDWHITE", "GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA"])
@pytest.mark.parametrize("peak", [1, 100, 255, 1023, 65535])
def test_a_pam_is_read_in_its_colors(name: str, peak: int, tmp_path: Path) -> None:
    depth = {"BLACKANDWHITE": 1, "GRAYSCALE": 1, "GRAYSCALE_ALPHA": 2, "RGB": 3, "RGB_ALPHA": 4}[name]
    values = RANDOM.integers(0, peak + 1, (9, 12, depth))
    head = f"P7\n# a comment\nWIDTH 12\nHEIGHT 9\nDEPTH {depth}\nMAXVAL {peak}\nTUPLTYPE {name}\nENDHDR\n"
    (tmp_path / "a.pam").write_bytes(head.encode() + values.astype("u1" if peak < 256 else ">u2").tobytes())
    picture = read_picture(tmp_path / "a.pam")
    top = 255 if peak < 256 else 65535
    stretched = np.rint(values * (top / peak)).astype(int)
    colors = stretched[..., :3] if depth > 2 else stretched[..., 0]
    assert np.array_equal(picture.planes[0], colors)
    assert picture.depth == (8 if peak < 256 else 16)
    if name.endswith("ALPHA"):
        assert picture.alpha is not None and np.array_equal(picture.alpha, stretched[..., -1])
    else:
        assert picture.alpha is None
    if peak == 255 and name.startswith("RGB"):
        with av.open(tmp_path / "a.pam") as file:
            theirs = next(file.decode(video=0)).to_ndarray(format="rgba" if depth == 4 else "rgb24")
        assert np.array_equal(picture.planes[0], theirs[..., :3])


def test_a_pam_of_other_tuples_is_called_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.pam"
    head = b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n"
    path.write_bytes(head + bytes(16))
    with pytest.raises(InputError, match="PAM of CMYK with 4 channels"):
        read_picture(path)
    for bad in (
        head.replace(b"CMYK", b"RGB_ALPHA") + bytes(15),
        head.replace(b"CMYK", b"RGB_ALPHA").replace(b" 2", b" -2"),
        head[:20],
    ):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"damaged or cut off|text"):
            read_picture(path)


@pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("peak", [1, 15, 100, 254, 255, 256, 1023, 4095, 65534, 65535])
def test_a_pnm_of_any_maxval_reaches_white(magic: str, peak: int, tmp_path: Path) -> None:
    values = RANDOM.integers(0, peak + 1, (9, 11, 3 if magic in ("P3", "P6") else 1))
    if magic in ("P5", "P6"):
        body = values.astype("u1" if peak < 256 else ">u2").tobytes()
    else:
        body = b" ".join(b"%d" % value for value in values.ravel()) + b"\n"
    path = tmp_path / "a.pnm"
    path.write_bytes(f"{magic}\n# a comment\n11 9\n{peak}\n".encode() + body)
    picture = read_picture(path)
    top = 255 if peak < 256 else 65535
    expected = np.rint(values * (top / peak)).astype(int)
    assert np.array_equal(picture.planes[0], expected if expected.shape[2] == 3 else expected[..., 0])
    if magic == "P6" and peak < 256:
        with Image.open(path) as image:
            assert np.abs(np.asarray(image).astype(int) - picture.planes[0]).max() <= 1
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError):
        read_picture(path)


MASKS = {
    "555": (16, 0, (0x7C00, 0x3E0, 0x1F, 0)),
    "565": (16, 3, (0xF800, 0x7E0, 0x1F, 0)),
    "4444": (16, 6, (0xF00, 0xF0, 0xF, 0xF000)),
    "8888": (32, 3, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "8888 swapped": (32, 3, (0xFF, 0xFF00, 0xFF0000, 0)),
    "101010": (32, 3, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("head", [40, 56, 108])
@pytest.mark.parametrize("upside", [1, -1])
def test_a_bmp_behind_masks(name: str, head: int, upside: int, tmp_path: Path) -> None:
    bits, compression, masks = MASKS[name]
    behind = b"" if compression == 0 or head > 40 else struct.pack("<4I", *masks)[: 16 if compression == 6 else 12]
    words = RANDOM.integers(0, 1 << bits, (5, 7), dtype=np.uint64).astype(f"<u{bits // 8}")
    lines = b"".join(row.tobytes().ljust(-(-7 * bits // 32) * 4, b"\0") for row in words)
    info = struct.pack("<IiiHHIIiiII", head, 7, 5 * upside, 1, bits, compression, len(lines), 0, 0, 0, 0)
    if head > 40:
        info += struct.pack("<4I", *masks).ljust(head - 40, b"\0")
    start = 14 + len(info) + len(behind)
    path = tmp_path / "a.bmp"
    path.write_bytes(struct.pack("<2sIHHI", b"BM", start + len(lines), 0, 0, start) + info + behind + lines)
    picture = read_picture(path)
    upright = words[::-upside].astype(np.int64)

    def channel(mask: int) -> "np.ndarray":
        low = mask & -mask
        return np.rint(((upright & mask) // low) * (255 / (mask // low))).astype(int)

    assert np.array_equal(picture.planes[0], np.dstack([channel(mask) for mask in masks[:3]]))
    has_alpha = masks[3] != 0 and (head > 40 or compression == 6)
    assert (picture.alpha is not None) == has_alpha
    if picture.alpha is not None:
        assert np.array_equal(picture.alpha, channel(masks[3]))
    if name in ("555", "565") and head == 40:
        with Image.open(path) as image:
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - picture.planes[0]).max() <= 1
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_picture(path)


def test_a_jpeg_of_12_bits_is_called_so(tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    deep = RANDOM.integers(0, 4096, (16, 16, 3)).astype(np.uint16)
    (tmp_path / "a.jpg").write_bytes(codecs.jpeg_encode(deep, bitspersample=12))
    with pytest.raises(InputError, match="JPEG of 12 bits"):
        read_picture(tmp_path / "a.jpg")
