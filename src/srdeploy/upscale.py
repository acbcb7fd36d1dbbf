"""A session and a tile plan: picture in, picture out."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from srdeploy import zoo
from srdeploy.backends import Session, open_session
from srdeploy.errors import DeviceError, InputError, ModelError
from srdeploy.media.alpha import with_colour_under_alpha
from srdeploy.media.colour import rgb_from_ycbcr, rgb_from_yuv, ycbcr_from_rgb, yuv_from_rgb
from srdeploy.media.enlarge import chroma_offset, enlarge_plane
from srdeploy.picture import Picture, Pixels
from srdeploy.spec import Precision
from srdeploy.tiling import plan

TileChoice = int | Literal["auto", "none"]

TILE_BYTES = 512 << 20
"""What `auto` lets the network's tensors take for one tile. Larger pictures are tiled, smaller ones run whole."""


class Upscaler:
    """Enlarges pictures by the network's scale: `upscaler(picture)`, tiled exactly when the picture is large.

    tile: side of a tile in input pixels, "none" for the whole picture at once, "auto" to choose by memory. The halo
    read around each tile is the network's receptive radius, so a tiled result is the whole result; `overlap` replaces
    it, and a smaller overlap than the halo (or any overlap of a network without one) gives an approximate result.
    deep: opens the float file of the same model, for pictures of more than 8 bits; it is called once, when needed.

    Luma networks enlarge luma; chroma follows by bicubic (Keys 1981, a = -0.5) at its own siting. RGB
    networks get RGB. Alpha follows by bicubic. Several threads may call one upscaler.
    """

    def __init__(
        self,
        session: Session,
        tile: TileChoice = "auto",
        overlap: int | None = None,
        deep: Callable[[], Session] | None = None,
    ) -> None:
        spec = session.spec
        _check_plan(tile, overlap)
        if isinstance(tile, int) and spec.halo is None and overlap is None:
            raise ModelError(
                f"--tile {tile} was asked, but {spec.name} has no finite halo: type --tile none, or --overlap N "
                "for an approximate result"
            )
        self.session = session
        self.scale = spec.scale
        self._tile = tile
        self._halo = spec.halo if overlap is None else overlap
        self.exact = overlap is None or (spec.halo is not None and overlap >= spec.halo)
        self._deep = deep
        self._deep_session: Session | None = None

    def __call__(self, picture: Picture) -> Picture:
        """Enlarge one picture; depth, layout, subsampling and tags stay as they are.

        Raises ModelError when the picture has more than 8 bits and the model has no float file, InputError for what is
        no Picture.
        """
        _check_picture(picture)
        picture = with_colour_under_alpha(picture)
        session = self._session_for(picture.depth)
        if session.spec.channels == 3:
            result = self._by_rgb(session, picture)
        else:
            result = self._by_luma(session, picture)
        if picture.alpha is None:
            return result
        return replace(result, alpha=enlarge_plane(picture.alpha, self.scale, peak=picture.peak))

    def tile_for(self, height: int, width: int) -> int | None:
        """The tile side that a picture of this size is cut by; None = it runs whole."""
        if self._tile == "none" or self._halo is None:
            return None
        if self._tile != "auto":
            return self._tile
        pixels = TILE_BYTES // max(1, self.session.spec.activation_bytes)
        if height * width <= pixels:
            return None
        return max(64, math.isqrt(pixels) - 2 * self._halo)

    def _session_for(self, depth: int) -> Session:
        if depth == 8 or self.session.spec.pixels == "float":
            return self.session
        if self._deep_session is None:
            if self._deep is None:
                raise ModelError(
                    f"the picture has {depth} bits and {self.session.path.name} takes 8; "
                    "type -m with the model's .float.onnx file"
                )
            self._deep_session = self._deep()
        return self._deep_session

    def _by_luma(self, session: Session, picture: Picture) -> Picture:
        if picture.layout == "rgb":
            y, cb, cr = ycbcr_from_rgb(picture.planes[0], picture.peak)
            big = self._network(session, y[:, :, None], picture.peak)[:, :, 0]
            cb, cr = (enlarge_plane(plane, self.scale, peak=picture.peak) for plane in (cb, cr))
            return replace(picture, planes=(rgb_from_ycbcr(big, cb, cr, picture.peak),))
        luma = self._network(session, picture.planes[0][:, :, None], picture.peak)[:, :, 0]
        if picture.layout == "gray":
            return replace(picture, planes=(luma,))
        return replace(picture, planes=(luma, *self._chroma(picture, luma.shape[0], luma.shape[1])))

    def _chroma(self, picture: Picture, height: int, width: int) -> list[Pixels]:
        across, down = picture.subsampling
        offset = chroma_offset(picture.subsampling, picture.color.chroma_location, self.scale)
        # A chroma plane of an odd side covers one luma sample more than there is.
        rows, columns = -(-height // down), -(-width // across)
        return [
            enlarge_plane(plane, self.scale, offset=offset, peak=picture.peak)[:rows, :columns]
            for plane in picture.planes[1:]
        ]

    def _by_rgb(self, session: Session, picture: Picture) -> Picture:
        if picture.layout == "gray":
            rgb = np.repeat(picture.planes[0][:, :, None], 3, axis=2)
            big = self._network(session, rgb, picture.peak)
            return replace(picture, planes=(ycbcr_from_rgb(big, picture.peak)[0],))
        rgb = picture.planes[0] if picture.layout == "rgb" else rgb_from_yuv(picture)
        big = self._network(session, rgb, picture.peak)
        if picture.layout == "rgb":
            return replace(picture, planes=(big,))
        return yuv_from_rgb(big, picture)

    def _network(self, session: Session, pixels: Pixels, peak: int) -> Pixels:
        """(H, W, C) integers to (sH, sW, C) of the same dtype, tile by tile."""
        height, width, channels = pixels.shape
        multiple, scale = session.spec.multiple, self.scale
        padded = _pad(pixels, multiple)
        tile = self.tile_for(height, width)
        if tile is None:
            return _infer(session, padded, peak)[: height * scale, : width * scale]
        result = np.empty((padded.shape[0] * scale, padded.shape[1] * scale, channels), pixels.dtype)
        for box in plan(padded.shape[0], padded.shape[1], tile, self._halo or 0, multiple):
            r, c = box.rows, box.columns
            big = _infer(session, padded[r.read : r.read + r.size, c.read : c.read + c.size], peak)
            top, left = (r.keep - r.read) * scale, (c.keep - c.read) * scale
            result[r.keep * scale : r.keep_end * scale, c.keep * scale : c.keep_end * scale] = big[
                top : top + (r.keep_end - r.keep) * scale, left : left + (c.keep_end - c.keep) * scale
            ]
        return result[: height * scale, : width * scale]


def _check_plan(tile: object, overlap: object) -> None:
    """Raise ModelError for a tile or an overlap that is none; Python callers come here without the command's checks."""
    if tile not in ("auto", "none") and not (isinstance(tile, int) and tile >= 1):
        raise ModelError(f"--tile {tile} was asked; type a number of pixels from 1 on, or auto, or none")
    if overlap is not None and not (isinstance(overlap, int) and overlap >= 0):
        raise ModelError(f"--overlap {overlap} was asked; type a number of pixels from 0 on, or leave it out")


def _check_picture(picture: object) -> None:
    """Raise InputError for anything but a Picture whose planes have the shape and dtype that it says."""
    if not isinstance(picture, Picture):
        found = type(picture).__name__
        if isinstance(picture, np.ndarray):
            found = f"an array of {picture.dtype} and shape {picture.shape}"
        raise InputError(
            f'an upscaler takes a Picture, not {found}; type Picture("rgb", (pixels,)) with uint8 pixels of shape '
            "(H, W, 3)"
        )
    count, sides = (3 if picture.layout == "yuv" else 1), ((3,) if picture.layout == "rgb" else ())
    for plane in picture.planes:
        if plane.dtype != picture.dtype or plane.ndim != 2 + len(sides) or plane.shape[2:] != sides or 0 in plane.shape:
            raise InputError(
                f"a {picture.layout} picture of {picture.depth} bits has {picture.dtype} planes of shape "
                f"{('H', 'W', *sides)}; it was given {plane.dtype} of shape {plane.shape}"
            )
    if len(picture.planes) != count:
        raise InputError(f"a {picture.layout} picture has {count} planes; it was given {len(picture.planes)}")


def _pad(pixels: Pixels, multiple: int) -> Pixels:
    """Repeat the last row and column until both sides are a multiple of what the network needs."""
    bottom, right = -pixels.shape[0] % multiple, -pixels.shape[1] % multiple
    if not bottom and not right:
        return pixels
    return np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="edge")


def _infer(session: Session, pixels: Pixels, peak: int) -> Pixels:
    """(H, W, C) integers through a uint8 or a float session, back to the same dtype."""
    if session.spec.pixels == "uint8":
        big: Pixels = session.run(np.ascontiguousarray(pixels)[None])[0]
        return big
    values = session.run((pixels.astype(np.float32) / np.float32(peak))[None])[0]
    deep: Pixels = np.rint(np.clip(values, 0, 1) * np.float32(peak)).astype(pixels.dtype)
    return deep


def open_upscaler(
    model: str | None = None,
    *,
    scale: int | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    tile: TileChoice = "auto",
    overlap: int | None = None,
    threads: int | None = None,
) -> Upscaler:
    """Open a model by shipped name or path, ready to enlarge pictures.

    model: a shipped name ("espcn-x4", or "espcn" with scale), the path of an exported .onnx file, or None for the
    default. precision: "auto" takes fp32. Raises ModelError, DeviceError, MissingExtra.
    """
    chosen: Precision = "fp32" if precision == "auto" else precision
    path = zoo.find(model, scale, chosen)
    session = open_session(path, backend, device, threads)
    spec = session.spec
    if precision != "auto":
        _require_precision(session, precision)
    if scale is not None and scale != spec.scale:
        raise ModelError(f"--scale {scale} was asked, but {path.name} enlarges by {spec.scale}")

    def deep() -> Session:
        return open_session(zoo.find(str(path), pixels="float"), backend, device, threads)

    return Upscaler(session, tile, overlap, deep)


def _require_precision(session: Session, asked: Precision) -> None:
    """An asked-for precision is what computes, or an error: never a file of one kind run in another."""
    if session.arithmetic != asked:
        raise DeviceError(
            f"--precision {asked} was asked, but {session.path.name} on {session.backend} {session.device} would "
            f"compute as {session.arithmetic}; type --precision auto, or only -m {session.path}"
        )
