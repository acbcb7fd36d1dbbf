"""Which model enlarges a source, and to which size: by a fixed scale, or by what `--to` asks for."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Generic, TypeVar

from srdeploy.media.enlarge import chroma_siting
from srdeploy.picture import Picture
from srdeploy.resample import reduce_plane
from srdeploy.sizes import Target, smallest_scale

U = TypeVar("U", bound=Callable[[Picture], Picture])
"""upscale.Upscaler, or whatever makes one picture of another."""


class Fit(Generic[U]):
    """Enlarges by the smallest of `scales` that reaches `target`, then reduces to exactly its size; see sizes.Target.

    open_at: opens the model of one scale; it is called once for each that is needed. Without a target there is one
    scale, and nothing is reduced.
    """

    def __init__(self, open_at: Callable[[int], U], scales: Sequence[int], target: Target | None = None) -> None:
        self._open_at = open_at
        self._scales = scales
        self._target = target
        self._opened: dict[int, U] = {}
        self._lock: AbstractContextManager[Any] = nullcontext()

    def largest(self) -> U:
        """The model of the largest scale. Raises what opening it raises."""
        return self._at(max(self._scales))

    def guarded_by(self, lock: threading.Lock) -> "Fit[U]":
        """The same, one picture at a time in the network whoever calls."""
        guarded = Fit(self._open_at, self._scales, self._target)
        guarded._opened, guarded._lock = self._opened, lock
        return guarded

    @property
    def label(self) -> str:
        """What names of results end in: x4, or 1080p."""
        return f"x{self._scales[0]}" if self._target is None else self._target.text

    def upscaler_for(self, width: int, height: int) -> U:
        """The upscaler for a source of that size. Raises InputError when none reaches the target."""
        scale = self._scales[0]
        if self._target is not None:
            scale = smallest_scale(width, height, self._target, self._scales)
        return self._at(scale)

    def _at(self, scale: int) -> U:
        if scale not in self._opened:
            self._opened[scale] = self._open_at(scale)
        return self._opened[scale]

    def size_for(self, width: int, height: int, even: bool) -> tuple[int, int]:
        """Width and height of the result; even: for video, whose chroma wants even sides."""
        if self._target is not None:
            return self._target.size_for(width, height, even)
        return width * self._scales[0], height * self._scales[0]

    def enlarger(self, even: bool) -> Callable[[Picture], Picture]:
        """What makes one picture of another."""

        def enlarge(picture: Picture) -> Picture:
            with self._lock:
                big = self.upscaler_for(picture.width, picture.height)(picture)
            return reduced(big, *self.size_for(picture.width, picture.height, even))

        return enlarge


def reduced(picture: Picture, width: int, height: int) -> Picture:
    """The picture at `width` x `height` by antialiased bicubic (Keys 1981), every plane by itself.

    Chroma stays where its siting says: sample k of a plane that stands d chroma samples off the middle of its luma is
    taken d * (ratio - 1) off its centred place.
    """
    if (picture.width, picture.height) == (width, height):
        return picture
    planes = [reduce_plane(picture.planes[0], height, width, picture.peak)]
    across, down = picture.subsampling
    siting = chroma_siting(picture.subsampling, picture.color.chroma_location)
    offset = (siting[0] * (picture.height / height - 1), siting[1] * (picture.width / width - 1))
    for plane in picture.planes[1:]:
        planes.append(reduce_plane(plane, -(-height // down), -(-width // across), picture.peak, offset))
    alpha = None if picture.alpha is None else reduce_plane(picture.alpha, height, width, picture.peak)
    return replace(picture, planes=tuple(planes), alpha=alpha)
