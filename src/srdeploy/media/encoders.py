"""Which encoder writes a video, with which options and pixel format."""

import os
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.codec import Codec

from srdeploy.environment import cpu_flags
from srdeploy.errors import OutputError
from srdeploy.media.base import PIPE, EncodeOptions
from srdeploy.media.frames import PixelFormat
from srdeploy.picture import Layout

_ORDERED = {"yuv420p": "nv12", "yuv420p10le": "p010le"}
"""Formats of the same samples in the order that hardware takes."""

_SAMPLING = {(2, 2): "420", (2, 1): "422", (1, 1): "444"}


@dataclass(frozen=True)
class Encoder:
    """How one encoder is spoken to.

    crf: our default quality. preset: our default speed, under the option `preset_option`. largest: the longest side
    that it takes. even: whether sides of reduced chroma must be even. hdr: option for x264's and x265's own parameters.
    presets, worst: the words it knows for speed, and the largest crf. crf_option: what it calls constant quality.
    """

    name: str
    crf: int | None
    preset: str | None
    largest: int
    even: bool
    preset_option: str = "preset"
    fixed: dict[str, str] = field(default_factory=dict)
    hdr: str | None = None
    presets: tuple[str, ...] = ()
    worst: int = 63
    crf_option: str = "crf"


_NVENC = tuple(f"p{number}" for number in range(1, 8))
_WORDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")


# Quality: visually the same as the source, so that the network's result is what is seen. Speed: what keeps two cores
# in real time at 1080p. vp9 needs b=0, or crf is only a floor.
ENCODERS = {
    e.name: e
    for e in (
        Encoder("libx264", 18, "veryfast", 16384, True, hdr="x264-params", presets=_WORDS, worst=51),
        Encoder(
            "libx265",
            20,
            "veryfast",
            16384,
            True,
            fixed={"x265-params": "log-level=error"},
            hdr="x265-params",
            presets=_WORDS,
            worst=51,
        ),
        Encoder(
            "libvpx-vp9",
            24,
            "5",
            16384,
            False,
            "cpu-used",
            {"b": "0", "row-mt": "1", "deadline": "good"},
            presets=tuple(map(str, range(9))),
        ),
        Encoder("libsvtav1", 24, "9", 16384, True, presets=tuple(map(str, range(14)))),
        Encoder("ffv1", None, None, 65535, False, fixed={"level": "3"}),
        # In hardware, when asked for; "b" of 0 lets the quality decide. Untested: no such hardware was at hand.
        *(
            Encoder(name, 20, "p4", side, True, "preset", {"rc": "vbr", "b": "0"}, None, _NVENC, 51, "cq")
            for name, side in (("h264_nvenc", 4096), ("hevc_nvenc", 8192), ("av1_nvenc", 8192))
        ),
        Encoder("rawvideo", None, None, 65535, False),
    )
}


@dataclass(frozen=True)
class Choice:
    """An encoder, its pixel format and how our pictures become it.

    pixel_format, layout, subsampling: of the planes that are filled. encoded: what the encoder takes, the same samples
    in another order where it has one of its own. width, height: with a pixel more where the encoder needs even sides.
    """

    encoder: Encoder
    pixel_format: str
    layout: Layout
    subsampling: tuple[int, int]
    width: int
    height: int
    encoded: str

    def options(self, asked: EncodeOptions, hdr: str | None, chroma_location: int | None) -> dict[str, str]:
        """The options of FFmpeg's encoder. `hdr`: parameters of `hdr_parameters`."""
        encoder = self.encoder
        options = dict(encoder.fixed)
        crf = encoder.crf if asked.crf is None else asked.crf
        preset = encoder.preset if asked.preset is None else asked.preset
        if crf is not None:
            options[encoder.crf_option] = str(crf)
        if preset is not None:
            options[encoder.preset_option] = preset
        parameters = [options[encoder.hdr]] if encoder.hdr and encoder.hdr in options else []
        if encoder.name == "libx264" and "avx512f" in cpu_flags():
            # Its AVX-512 code for trees of macroblocks reads what nobody wrote: each run gives other bytes.
            parameters.append("asm=AVX2")
        if encoder.name == "libx265" and asked.threads:
            parameters.append(f"pools={asked.threads}")
        if hdr and encoder.hdr:
            parameters.append(hdr if encoder.name == "libx265" else hdr.replace("master-display", "mastering-display"))
        if encoder.hdr and parameters:
            text = ":".join(parameters)
            options[encoder.hdr] = text.replace("max-cll", "cll") if encoder.name == "libx264" else text
        if chroma_location and self.subsampling != (1, 1):
            options["chroma_sample_location"] = str(chroma_location)
        return options


def choose_encoder(path: Path, form: PixelFormat, width: int, height: int, asked: EncodeOptions) -> Choice:
    """The encoder for frames of `form`, `width` x `height`, in the container that the suffix of `path` names.

    Raises OutputError, before anything is computed, when the encoder is unknown or cannot hold the depth or the size.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the only way to keep SVT-AV1 from printing its settings on standard error
    webm = path.suffix.lower() == ".webm"
    usual = ("libvpx-vp9", "libsvtav1") if webm else ("libx264", "libx265")
    if path == PIPE:
        usual = ("rawvideo", "rawvideo")
    encoder = ENCODERS.get(asked.codec or usual[form.depth > 8])
    if encoder is None:
        raise OutputError(f"no encoder {asked.codec} for video here; type --codec and one of {', '.join(ENCODERS)}")
    if encoder.crf is None and (asked.crf is not None or asked.preset is not None):
        raise OutputError(f"{encoder.name} is lossless and takes neither --crf nor --preset; leave them out")
    if asked.preset is not None and asked.preset not in encoder.presets:
        raise OutputError(f"{encoder.name} has no preset {asked.preset}; type one of {', '.join(encoder.presets)}")
    if asked.crf is not None and asked.crf > encoder.worst:
        raise OutputError(f"{encoder.name} has no crf {asked.crf}; type --crf and a number from 0 to {encoder.worst}")
    try:
        formats = {f.name for f in Codec(encoder.name, "w").video_formats or ()}
    except av.codec.codec.UnknownCodecError:
        known = "ffv1, libx264" if encoder.name != "libx264" else "ffv1"
        raise OutputError(f"this PyAV has no encoder {encoder.name}; type --codec and one of {known}") from None
    name, layout, subsampling = _pixel_format(encoder, form, formats)
    if layout == "yuv" and encoder.even:
        width += width % subsampling[0]
        height += height % subsampling[1]
    if max(width, height) > encoder.largest:
        raise OutputError(
            f"{encoder.name} cannot hold {width}x{height} (at most {encoder.largest} a side); type a smaller --scale"
        )
    encoded = _ORDERED.get(name, name) if formats and name not in formats else name
    return Choice(encoder, name, layout, subsampling, width, height, encoded)


def _pixel_format(encoder: Encoder, form: PixelFormat, formats: set[str]) -> tuple[str, Layout, tuple[int, int]]:
    deep = "" if form.depth == 8 else f"{form.depth}le"
    candidates: list[tuple[str, Layout, tuple[int, int]]] = []
    if form.layout == "yuv":
        candidates.append((f"yuv{_SAMPLING[form.subsampling]}p{deep}", "yuv", form.subsampling))
    elif form.layout == "gray":
        candidates += [(f"gray{deep}", "gray", (1, 1)), (f"yuv420p{deep}", "yuv", (2, 2))]
    else:
        # Players of today show 4:2:0; RGB as it is goes only to a lossless file, which is meant for further work.
        lossless: tuple[str, Layout, tuple[int, int]] = (f"gbrp{deep}" if deep else "bgr0", "rgb", (1, 1))
        if encoder.name == "rawvideo":
            lossless = (f"gbrp{deep}", "rgb", (1, 1))
        candidates += [lossless] if encoder.crf is None and (not formats or lossless[0] in formats) else []
        candidates.append((f"yuv420p{deep}", "yuv", (2, 2)))
    for candidate in candidates:
        if candidate[0] in formats or _ORDERED.get(candidate[0]) in formats or encoder.name == "rawvideo":
            return candidate
    raise OutputError(
        f"{encoder.name} cannot hold {form.layout} of {form.depth} bits ({form.name}); type: --codec ffv1 -o NAME.mkv"
    )


def hdr_parameters(mastering: bytes | None, light: bytes | None) -> str | None:
    """x265's words for FFmpeg's AVMasteringDisplayMetadata (SMPTE ST 2086) and AVContentLightMetadata (CTA-861.3)."""
    words = []
    if mastering and len(mastering) >= 88:
        *numbers, has_primaries, has_luminance = struct.unpack_from("<22i", mastering)
        values = [Fraction(n, d) if d else Fraction(0) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
        if has_primaries and has_luminance:
            red, green, blue, white = ([round(v * 50000) for v in values[i : i + 2]] for i in (0, 2, 4, 6))
            low, high = (round(v * 10000) for v in values[8:10])
            points = "".join(f"{n}({x},{y})" for n, (x, y) in zip("GBR", (green, blue, red), strict=True))
            words.append(f"master-display={points}WP({white[0]},{white[1]})L({high},{low})")
    if light and len(light) >= 8:
        most, average = struct.unpack_from("<2I", light)
        words.append(f"max-cll={most},{average}")
    return ":".join(words) or None
