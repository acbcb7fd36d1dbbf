"""What stands beside the pixels, or makes several pictures of one: kept, or said, by the word of other readers."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from srdeploy.errors import InputError, OutputError
from srdeploy.media import open_reader, open_writer, result_suffix
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.picture import Picture

DOWN, ACROSS = np.mgrid[0:20, 0:30]
RGB = np.dstack((ACROSS * 8, DOWN * 12, (ACROSS + DOWN) * 5)).astype(np.uint8)
DEEP = np.random.default_rng(5).integers(0, 65536, (20, 30, 4)).astype(np.uint16)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'

Enlarge = Callable[..., list[str]]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def add_chunks(path: Path, *chunks: bytes) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:])


def chunks_of(path: Path) -> dict[bytes, bytes]:
    data, found, at = path.read_bytes(), {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def test_the_profile_of_a_jpeg_of_several_pictures(tmp_path: Path, enlarge_file: Enlarge) -> None:
    image = Image.fromarray(RGB)
    image.save(tmp_path / "a.mpo", save_all=True, append_images=[image], icc_profile=PROFILE, xmp=XMP)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    notes = enlarge_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert ["2 pictures" in note for note in notes] == [True]
    with Image.open(tmp_path / "b.jpg") as big:
        assert big.info["icc_profile"] == PROFILE
        assert big.info["xmp"] == XMP
    image.save(tmp_path / "a.mpo", save_all=True, append_images=[image])
    assert read_picture(tmp_path / "a.mpo").icc is None


def test_blocks_longer_than_a_segment_of_a_jpeg(tmp_path: Path, enlarge_file: Enlarge) -> None:
    long = struct.pack(">I", len(PROFILE) + 200000) + PROFILE[4:] + bytes(200000)
    write_picture(tmp_path / "a.png", Picture("rgb", (RGB,), icc=long))
    assert enlarge_file(tmp_path / "a.png", tmp_path / "b.jpg") == []
    with Image.open(tmp_path / "b.jpg") as big:
        assert big.info["icc_profile"] == long
    assert read_picture(tmp_path / "b.jpg").icc == long
    packet = XMP.replace(b"/>", b">" + b" " * 70000 + b"</x:xmpmeta>")
    write_picture(tmp_path / "a.png", Picture("rgb", (RGB,), xmp=packet, icc=PROFILE))
    assert ["XMP not kept in .jpg" in note for note in enlarge_file(tmp_path / "a.png", tmp_path / "b.jpg")] == [True]
    assert read_picture(tmp_path / "b.jpg").icc == PROFILE
    # Of a profile of which a part is missing nothing is taken.
    write_picture(tmp_path / "a.jpg", Picture("rgb", (RGB,), icc=long))
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data.replace(b"ICC_PROFILE\0\2", b"ICC_PROFILE\0\7"))
    assert read_picture(tmp_path / "a.jpg").icc is None


def test_colour_spaces_of_png_and_avif_are_carried_over(tmp_path: Path, enlarge_file: Enlarge) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    gamma, primaries = struct.pack(">I", 100000), struct.pack(">8I", *range(31270, 31278))
    add_chunks(
        tmp_path / "a.png", chunk(b"gAMA", gamma), chunk(b"cHRM", primaries), chunk(b"cICP", bytes((9, 16, 0, 1)))
    )
    assert enlarge_file(tmp_path / "a.png", tmp_path / "b.png") == []
    found = chunks_of(tmp_path / "b.png")
    assert (found[b"gAMA"], found[b"cHRM"], found[b"cICP"]) == (gamma, primaries, bytes((9, 16, 0, 1)))
    assert ["colour space not kept" in note for note in enlarge_file(tmp_path / "a.png", tmp_path / "b.jpg")] == [True]
    Image.fromarray(RGB).save(tmp_path / "a.avif")
    data = bytearray((tmp_path / "a.avif").read_bytes())
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", 9, 16)
    (tmp_path / "a.avif").write_bytes(data)
    assert enlarge_file(tmp_path / "a.avif", tmp_path / "c.png") == []
    assert chunks_of(tmp_path / "c.png")[b"cICP"] == bytes((9, 16, 0, 1))


def test_the_profile_of_a_bmp_is_kept_where_it_fits(shared: Path, tmp_path: Path, enlarge_file: Enlarge) -> None:
    source = shared / "data" / "odd" / "bmpsuite" / "q_rgb24prof.bmp"
    icc = read_picture(source).icc
    assert icc is not None and ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    assert enlarge_file(source, tmp_path / "b.png") == []
    assert read_picture(tmp_path / "b.png").icc == icc
    assert ["ICC profile not kept in .bmp" in note for note in enlarge_file(source, tmp_path / "b.bmp")] == [True]


def test_compressed_xmp_of_a_png(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=info)
    assert read_picture(tmp_path / "a.png").xmp == XMP


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_with_alpha_stays_gray(depth: int, tmp_path: Path, enlarge_file: Enlarge) -> None:
    gray, alpha = (DEEP[..., channel] >> (16 - depth) for channel in (0, 3))
    kind = np.uint8 if depth == 8 else np.uint16
    write_picture(tmp_path / "a.png", Picture("gray", (gray.astype(kind),), depth, alpha=alpha.astype(kind)))
    enlarge_file(tmp_path / "a.png", tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes()[24:26] == bytes((depth, 4))  # PNG's gray with alpha
        with Image.open(tmp_path / name) as image:
            shown = np.asarray(image.convert("LA") if depth == 8 else image.convert("RGBA"))[:: 1 + (name == "b.png")]
            assert image.mode == ("LA" if depth == 8 else "RGBA")
        shown = shown[:, :: 1 + (name == "b.png")]
        assert np.abs(shown[..., 0].astype(int) - (gray >> (depth - 8))).max() <= 1
        assert np.abs(shown[..., -1].astype(int) - (alpha >> (depth - 8))).max() <= 1


def test_jpeg_xl_keeps_its_bits_its_alpha_and_its_blocks(tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pillow_jxl")
    (tmp_path / "a.jxl").write_bytes(codecs.jpegxl_encode(DEEP, lossless=True))
    picture = read_picture(tmp_path / "a.jxl")
    assert picture.alpha is not None and picture.depth == 16
    assert np.array_equal(picture.planes[0], DEEP[..., :3]) and np.array_equal(picture.alpha, DEEP[..., 3])
    (tmp_path / "b.jxl").write_bytes(codecs.jpegxl_encode(DEEP[..., 0] >> 6, lossless=True, bitspersample=10))
    ten = read_picture(tmp_path / "b.jxl")
    assert np.abs(ten.planes[0] / 65535 - (DEEP[..., 0] >> 6) / 1023).max() < 1e-5
    frames = np.stack([RGB, 255 - RGB])
    (tmp_path / "c.jxl").write_bytes(codecs.jpegxl_encode(frames, lossless=True, photometric="rgb"))
    reader = open_reader(tmp_path / "c.jxl")
    assert "first picture" in reader.notes[0]
    assert np.array_equal(next(iter(reader)).picture.planes[0], RGB)
    with pytest.raises(InputError, match="max-pixels"):
        read_picture(tmp_path / "a.jxl", max_pixels=599)


@pytest.mark.parametrize("rebuild", [True, False])
def test_a_turned_jpeg_xl_is_turned_once(rebuild: bool, tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif, quality=95, xmp=XMP, icc_profile=PROFILE)
    data = codecs.jpegxl_encode_jpeg((tmp_path / "a.jpg").read_bytes())
    if not rebuild:  # without the box from which the JPEG could be made again, pixels come from the codestream alone
        boxes, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4]) or len(data) - at
            boxes.append(data[at : at + size])
            at += size
        data = b"".join(box for box in boxes if box[4:8] != b"jbrd")
    (tmp_path / "a.jxl").write_bytes(data)
    picture, upright = read_picture(tmp_path / "a.jxl"), read_picture(tmp_path / "a.jpg")
    assert picture.planes[0].shape == upright.planes[0].shape == (30, 20, 3)
    assert np.abs(picture.planes[0].astype(int) - upright.planes[0]).mean() < 3
    assert (picture.icc, picture.xmp) == (PROFILE, XMP)
    found = Image.Exif()
    found.load(b"Exif\0\0" + (picture.exif or b""))
    assert (found[0x0112], found[0x010F]) == (1, "a maker")


def test_jpeg_2000_in_colour_keeps_its_bits(tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    (tmp_path / "a.jp2").write_bytes(codecs.jpeg2k_encode(DEEP[..., :3].copy(), level=0))
    assert np.array_equal(read_picture(tmp_path / "a.jp2").planes[0], DEEP[..., :3])


def animation(path: Path, **options: object) -> None:
    frames = [
        Image.fromarray(np.dstack((np.roll(RGB, n * 3, 1), 255 * (n < ACROSS).astype(np.uint8)))) for n in range(3)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 200, 300], **options)  # type: ignore[arg-type]


def played(path: Path) -> tuple[list[int], object]:
    with Image.open(path) as image:
        times = []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            image.load()
            times.append(round(image.info["duration"]))
        return times, image.info.get("loop")


@pytest.mark.parametrize("target", [".png", ".webp", ".apng"])
@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (4, 5)])
def test_a_gif_as_pictures_keeps_alpha_times_and_plays(
    loop: int | None, plays: int, target: str, tmp_path: Path
) -> None:
    animation(tmp_path / "a.gif", **({} if loop is None else {"loop": loop}))
    reader = open_reader(tmp_path / "a.gif", target=tmp_path / f"b{target}")
    writer = open_writer(tmp_path / f"b{target}", reader, 60, 40)
    with writer:
        for frame in reader:
            assert frame.picture.alpha is not None
            big = [np.repeat(np.repeat(p, 2, 0), 2, 1) for p in (frame.picture.planes[0], frame.picture.alpha)]
            writer.write(
                type(frame)(Picture("rgb", (big[0],), alpha=big[1]), frame.pts, frame.time_base, frame.duration)
            )
        writer.finish()
    assert played(tmp_path / f"b{target}") == ([100, 200, 300], plays)
    with Image.open(tmp_path / f"b{target}") as image:
        assert image.convert("RGBA").getextrema()[3] == (0, 255)


def test_every_frame_of_an_animated_avif(tmp_path: Path, enlarge_file: Enlarge) -> None:
    animation(tmp_path / "a.avif", quality=95)
    assert result_suffix(tmp_path / "a.avif") == ".png"
    enlarge_file(tmp_path / "a.avif", tmp_path / "b.png")
    assert played(tmp_path / "b.png")[0] == [100, 200, 300]


def test_an_animation_behind_large_blocks_is_one(tmp_path: Path, enlarge_file: Enlarge) -> None:
    animation(tmp_path / "a.png")
    add_chunks(tmp_path / "a.png", chunk(b"tEXt", b"Comment\0" + b"x" * 9000))
    enlarge_file(tmp_path / "a.png", tmp_path / "b.png")
    assert played(tmp_path / "b.png")[0] == [100, 200, 300]
    Image.fromarray(RGB).save(tmp_path / "c.png")
    add_chunks(tmp_path / "c.png", chunk(b"tEXt", b"Comment\0acTL" + b"x" * 9000))
    assert type(open_reader(tmp_path / "c.png")).__name__ == "PictureReader"


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".bmp", ".mp4"])
def test_an_animation_is_written_where_it_is_one(suffix: str, tmp_path: Path) -> None:
    animation(tmp_path / "a.webp")
    reader = open_reader(tmp_path / "a.webp")
    with pytest.raises(OutputError, match=r"-o b\.png"):
        open_writer(tmp_path / f"b{suffix}", reader, 60, 40)


def test_a_raw_file_is_not_its_preview(tmp_path: Path) -> None:
    for extra in ([(50706, 1, 4, (1, 4, 0, 0), True)], []):
        with tifffile.TiffWriter(tmp_path / "a.dng") as file:
            file.write(RGB, photometric="rgb", subfiletype=1, subifds=1, extratags=extra)
            file.write(DEEP[..., 0].copy(), photometric=32803, subfiletype=0)
        with pytest.raises(InputError, match="raw"):
            read_picture(tmp_path / "a.dng")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:  # smaller copies of a picture are none of its business
        file.write(RGB, photometric="rgb", subifds=1)
        file.write(RGB[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    assert np.array_equal(read_picture(tmp_path / "b.tif").planes[0], RGB)


def test_more_pages_than_are_read_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(1001):
            file.write(RGB[:2, :2, 0].copy(), photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match="1000 pages"):
        open_reader(tmp_path / "a.tif")


def test_which_picture_of_a_heif_is_read_is_said(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    several = heif.HeifFile()
    for shade in (40, 200):
        several.add_from_pillow(Image.new("RGB", (64, 48), (shade,) * 3))
    several.save(tmp_path / "a.heic", primary_index=1)
    reader = open_reader(tmp_path / "a.heic")
    assert "2 pictures" in reader.notes[0]
    assert abs(int(next(iter(reader)).picture.planes[0].mean()) - 200) < 4


def test_maps_beside_a_heif_are_said_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As phones put them; the library reads such files and writes none, so that it is told of them here."""
    heif = pytest.importorskip("pillow_heif")
    heif.from_bytes("RGB", (30, 20), bytes(30 * 20 * 3)).save(tmp_path / "a.heic")
    really = heif.open_heif

    def with_maps(*args: Any, **named: Any) -> Any:
        found = really(*args, **named)
        found.info["depth_images"] = [object()]
        found.info["aux"] = {"urn:com:apple:photo:2020:aux:hdrgainmap": [3]}
        return found

    assert not any("not kept" in note for note in open_reader(tmp_path / "a.heic").notes)
    monkeypatch.setattr(heif, "open_heif", with_maps)
    assert "a.heic: depth map and gain map not kept" in open_reader(tmp_path / "a.heic").notes
