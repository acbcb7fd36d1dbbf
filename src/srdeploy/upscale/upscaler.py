"""Pictures of every layout through a network: colour, chroma and alpha around its tiles."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from numbers import Integral
from typing import Any, TypeVar, cast

import numpy as np

from srdeploy.backends import Session
from srdeploy.environment import cores
from srdeploy.errors import ModelError, OutOfMemory, SrdeployError
from srdeploy.given import check_is
from srdeploy.inorder import by_threads, in_order
from srdeploy.media.alpha import with_colour_under_alpha
from srdeploy.media.colour import rgb_from_ycbcr, rgb_from_yuv, ycbcr_from_rgb, yuv_from_rgb
from srdeploy.media.enlarge import chroma_offset, enlarge_part, enlarge_plane
from srdeploy.picture import Frame, Picture, Pixels, check_picture, picture_of
from srdeploy.shortage import is_shortage
from srdeploy.spec import ModelSpec
from srdeploy.upscale.memory import has_room
from srdeploy.upscale.tiles import SMALL_BYTES, Log, TileChoice, Tiled, window_overlap

_PART = 512
"""Side in pixels of the parts of a result whose colour is made at once: what is between stays in a core's cache."""

_AT_ONCE = 8
"""Parts at the same time, at most: each takes some megabytes."""

Part = tuple[slice, slice]
"""Rows and columns of a plane."""

LEAST_BYTES = 96 << 20
"""What the smallest tiles and the encoder of a large result were seen to take beside it."""

Kind = TypeVar("Kind", Picture, Frame, Pixels)


class Upscaler:
    """Enlarges pictures by the network's scale: `upscaler(picture)`, tiled exactly when the picture is large.

    tile: side of a tile in input pixels, "none" for the whole picture at once, "auto" to choose by free memory. The
    halo read around each tile is the network's receptive radius, so a tiled result is the whole result; `overlap`
    replaces it, and a smaller overlap than the halo (or any overlap of a network without one) gives an approximate
    result. When memory runs out all the same, tiles are halved.
    deep: opens the float file of the same model, for pictures of more than 8 bits; it is called once, when needed.
    fp32: opens the fp32 file of the same model, which computes again what is no numbers, or black or white where the
    picture is not.
    why: what a person is told once the session has enlarged something; pictures of more than 8 bits may go elsewhere.

    Luma networks enlarge luma; chroma follows by bicubic (Keys 1981, a = -0.5) at its own siting. RGB
    networks get RGB. Alpha follows by bicubic. Several threads may call one upscaler.
    """

    def __init__(
        self,
        session: Session,
        tile: TileChoice = "auto",
        overlap: int | None = None,
        deep: Callable[[], Session] | None = None,
        fp32: Callable[[], Session | None] | None = None,
        why: str = "",
    ) -> None:
        check_is("session", session, Session, "a Session (srdeploy.open makes one of a name)")
        spec = session.spec
        _check_plan(tile, overlap)
        _check_tileable(spec, tile, overlap)
        self.session = session
        self.scale = spec.scale
        self.log = Log()
        """What a person is to be told; `log.take()` gives it and forgets it."""
        self._tile = tile
        self._halo = overlap if overlap is not None else spec.halo if spec.size is None else window_overlap(spec)
        self._fp32 = _Once(fp32)
        self._deep = _Once(deep)
        self._expected: set[tuple[int, int]] = set()
        self._network = Tiled(session, tile, self._halo, self._fp32, self.log)
        self._deep_network: Tiled | None = None
        self._why, self._why_deep = why, bool(why)

    def __call__(self, picture: Kind) -> Kind:
        """Enlarge a Picture, a Frame, or an array of uint8 or uint16: (H, W) or (H, W, 3) RGB; its like comes back.

        Depth, layout, subsampling and tags stay as they are; so do the times of a frame. Raises ModelError when the
        picture has more than 8 bits and the model has no float file, InputError for what is no picture, OutOfMemory
        when there is too little for the result itself.
        """
        given: Any = picture
        result: Any
        if isinstance(given, Frame):
            result = replace(given, picture=self._picture(given.picture))
        elif isinstance(given, np.ndarray):
            result = self._picture(picture_of(given)).planes[0]
        else:
            result = self._picture(given)
        return cast(Kind, result)

    def stream(self, frames: Iterable[Kind]) -> Iterator[Kind]:
        """Enlarge pictures, frames or arrays as they come, in order; the next one while its taker is at work."""
        yield from in_order(self, frames, self.session.at_once)

    def expect(self, height: int, width: int) -> None:
        """Say that many pictures of this size will come, as of a video; on a GPU it is then not cut into common tiles.

        It changes how fast they are made, and results by no more than tiles do.
        """
        self._expected.add((height, width))
        for network in (self._network, self._deep_network):
            if network is not None:
                network.expect(height, width)

    def tile_name(self, height: int, width: int) -> int | str:
        """What a picture of this size is cut by: "none", a side in input pixels, or "HxW" of a file of one size."""
        size = self.session.spec.size
        if size is None:
            return self.tile_for(height, width) or "none"
        return "none" if (height, width) == size else f"{size[0]}x{size[1]}"

    def exact_for(self, height: int, width: int) -> bool:
        """Whether a picture of this size becomes what the network makes of it whole, and not an approximation of it."""
        spec = self.session.spec
        if self.tile_name(height, width) == "none":
            return True
        if spec.size is not None and (height < spec.size[0] or width < spec.size[1]):
            return False  # what is added to fill the one size reaches into the picture
        return spec.halo is not None and (self._halo or 0) >= spec.halo

    def tile_for(self, height: int, width: int) -> int | None:
        """The tile side that a picture of this size is cut by; None = it runs whole, or the file has one size."""
        return self._network.tile_for(height, width)

    def session_for(self, depth: int) -> Session:
        """The session that pictures of so many bits go through; raises ModelError when the model has none."""
        return self._network_for(depth).session

    def _picture(self, picture: Picture) -> Picture:
        check_picture(picture, "an upscaler")
        picture = with_colour_under_alpha(picture)
        network = self._network_for(picture.depth)
        self._tell(network.session, picture.depth)
        try:
            self._check_room(picture)
            by = self._by_rgb if self.session.spec.channels == 3 else self._by_luma
            result = by(network, picture)
            if picture.alpha is None:
                return result
            return replace(result, alpha=self._enlarged(picture.alpha, picture.peak))
        except Exception as error:
            if isinstance(error, SrdeployError) or not is_shortage(error):
                raise
            raise self._too_large(picture) from None

    def _check_room(self, picture: Picture) -> None:
        """Raise OutOfMemory for a result that there is no memory for, before a system that lends it kills us."""
        planes = picture.planes if picture.alpha is None else (*picture.planes, picture.alpha)
        result = sum(plane.nbytes for plane in planes) * self.scale**2
        if result > SMALL_BYTES and not has_room(result + LEAST_BYTES):
            raise self._too_large(picture)

    def _too_large(self, picture: Picture) -> OutOfMemory:
        width, height = picture.width * self.scale, picture.height * self.scale
        return OutOfMemory(
            f"there is not enough memory for a result of {width}x{height}; close other programs, or cut the picture"
        )

    def _tell(self, session: Session, depth: int) -> None:
        """Say, the first time of each, which session was chosen and why, as far as there was a choice."""
        if self._why and session is self.session:
            self.log.say(self._why)
            self._why = ""
        elif self._why_deep and session is not self.session and session.arithmetic != self.session.arithmetic:
            ours, theirs = self.session.arithmetic, session.arithmetic
            self.log.say(f"{depth}-bit pixels are computed in {theirs} on {session.backend}: {ours} files take 8 bits")
            self._why_deep = False

    def _network_for(self, depth: int) -> Tiled:
        if depth == 8 or self.session.spec.pixels == "float":
            return self._network
        if self._deep_network is None:
            session = self._deep()
            if session is None:
                raise ModelError(
                    f"the picture has {depth} bits and {self.session.path.name} takes 8; "
                    "type -m with the model's .float.onnx file"
                )
            # Were two threads here at once, each would use its own from the same session.
            self._deep_network = Tiled(session, self._tile, self._halo, lambda: session, self.log)
            for size in self._expected:
                self._deep_network.expect(*size)
        return self._deep_network

    def _run(self, network: Tiled, pixels: Pixels, peak: int, out: Pixels | None = None) -> Pixels:
        """(H, W, C) integers to (sH, sW, C) of the same dtype, in `out` where it is given."""
        if out is None:
            height, width, channels = pixels.shape
            out = np.empty((height * self.scale, width * self.scale, channels), pixels.dtype)
        network(pixels, peak, out)
        return out

    def _enlarged(self, plane: Pixels, peak: int) -> Pixels:
        """A plane by bicubic, in parts: nothing of the result's size is between."""
        big = np.empty((plane.shape[0] * self.scale, plane.shape[1] * self.scale), plane.dtype)

        def fill(part: Part) -> None:
            big[self._grown(part)] = enlarge_part(plane, part, self.scale, peak)

        self._by_parts(plane, fill)
        return big

    def _by_parts(self, plane: Pixels, work: Callable[[Part], None]) -> None:
        """Have `work` done for every part of an input plane, by all cores."""
        rows, columns = (_even_parts(length, max(1, _PART // self.scale)) for length in plane.shape[:2])
        for _ in by_threads(work, [(row, column) for row in rows for column in columns], min(cores(), _AT_ONCE)):
            pass

    def _grown(self, part: Part) -> Part:
        """Where a part of the input is in the result."""
        rows, columns = (slice(side.start * self.scale, side.stop * self.scale) for side in part)
        return rows, columns

    def _by_luma(self, network: Tiled, picture: Picture) -> Picture:
        if picture.layout == "rgb":
            return replace(picture, planes=(self._rgb_by_luma(network, picture.planes[0], picture.peak),))
        luma = self._run(network, picture.planes[0][:, :, None], picture.peak)[:, :, 0]
        if picture.layout == "gray":
            return replace(picture, planes=(luma,))
        return replace(picture, planes=(luma, *self._chroma(picture, luma.shape[0], luma.shape[1])))

    def _rgb_by_luma(self, network: Tiled, rgb: Pixels, peak: int) -> Pixels:
        """Luma is enlarged into the place of red, and colour is put around it part by part."""
        height, width, _ = rgb.shape
        planes = [np.empty((height, width), rgb.dtype) for _ in range(3)]

        def take_apart(part: Part) -> None:
            for plane, made in zip(planes, ycbcr_from_rgb(rgb[part], peak), strict=True):
                plane[part] = made

        self._by_parts(rgb, take_apart)
        y, *chroma = planes
        result = np.empty((height * self.scale, width * self.scale, 3), rgb.dtype)
        small = result.nbytes <= SMALL_BYTES
        luma = self._run(network, y[:, :, None], peak, None if small else result[:, :, :1])[:, :, 0]

        def put_together(part: Part) -> None:
            grown = self._grown(part)
            blue, red = (enlarge_part(plane, part, self.scale, peak) for plane in chroma)
            result[grown] = rgb_from_ycbcr(np.ascontiguousarray(luma[grown]), blue, red, peak)

        self._by_parts(rgb, put_together)
        return result

    def _chroma(self, picture: Picture, height: int, width: int) -> list[Pixels]:
        across, down = picture.subsampling
        offset = chroma_offset(picture.subsampling, picture.color.chroma_location, self.scale)
        # A chroma plane of an odd side covers one luma sample more than there is.
        rows, columns = -(-height // down), -(-width // across)
        return [
            enlarge_plane(plane, self.scale, offset=offset, peak=picture.peak)[:rows, :columns]
            for plane in picture.planes[1:]
        ]

    def _by_rgb(self, network: Tiled, picture: Picture) -> Picture:
        if picture.layout == "gray":
            rgb = np.repeat(picture.planes[0][:, :, None], 3, axis=2)
            big = self._run(network, rgb, picture.peak)
            return replace(picture, planes=(ycbcr_from_rgb(big, picture.peak)[0],))
        rgb = picture.planes[0] if picture.layout == "rgb" else rgb_from_yuv(picture)
        big = self._run(network, rgb, picture.peak)
        if picture.layout == "rgb":
            return replace(picture, planes=(big,))
        return yuv_from_rgb(big, picture)


def _even_parts(length: int, about: int) -> list[slice]:
    """An axis in parts of about so many pixels, all alike: a sliver costs a call as well."""
    count = max(1, round(length / about))
    cuts = [length * part // count for part in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(cuts)]


class _Once:
    """Opens a session when it is first asked for, and only then; None when there is nothing to open."""

    def __init__(self, opens: Callable[[], Session | None] | None) -> None:
        self._opens = opens
        self._session: Session | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Session | None:
        with self._lock:
            if self._session is None and self._opens is not None:
                self._session = self._opens()
            return self._session


def _check_tileable(spec: ModelSpec, tile: object, overlap: int | None) -> None:
    """Raise ModelError for tiles that a network cannot be cut into."""
    if spec.size is not None:
        shape = f"{spec.size[0]}x{spec.size[1]}"
        if tile != "auto":
            raise ModelError(f"--tile {tile} was asked, but {spec.name} takes {shape} pixels only; leave --tile out")
        if overlap is not None and min(spec.size) - 2 * overlap < spec.multiple:
            raise ModelError(f"--overlap {overlap} leaves nothing of {spec.name}'s {shape} pixels; type a smaller one")
    if isinstance(tile, int) and spec.halo is None and overlap is None:
        raise ModelError(
            f"--tile {tile} was asked, but {spec.name} reads the whole picture, so tiles change its result; type "
            f"--tile {tile} --overlap 16 for an approximate result, or --tile none"
        )


def _check_plan(tile: Any, overlap: Any) -> None:
    """Raise ModelError for a tile or an overlap that is none; Python callers come here without the command's checks."""
    if tile not in ("auto", "none") and not (_is_whole(tile) and tile >= 1):
        raise ModelError(f"--tile {tile} was asked; type a number of pixels from 1 on, or auto, or none")
    if overlap is not None and not (_is_whole(overlap) and overlap >= 0):
        raise ModelError(f"--overlap {overlap} was asked; type a number of pixels from 0 on, or leave it out")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
