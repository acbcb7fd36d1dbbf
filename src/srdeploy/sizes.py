"""The size that `--to` asks for, and the smallest scale that reaches it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from srdeploy.errors import InputError

_LINES = re.compile(r"(\d{2,5})p")
_BOX = re.compile(r"(\d{1,5})[xX](\d{1,5})")


@dataclass(frozen=True)
class Target:
    """What `--to` asks for. text: as typed. lines: pixels of the shorter side; box: (width, height); one of them.

    "1080p" is 1080 pixels on the shorter side, whichever way the picture stands, with the aspect kept. "1920x1080" is
    that size, whatever it does to the aspect.
    """

    text: str
    lines: int | None = None
    box: tuple[int, int] | None = None

    @staticmethod
    def parse(text: str) -> "Target":
        """Raises InputError for anything but 1080p, 2160p or another number of lines, or WxH."""
        lines, box = _LINES.fullmatch(text), _BOX.fullmatch(text)
        if lines:
            return Target(text, lines=int(lines[1]))
        if box and int(box[1]) and int(box[2]):
            return Target(text.lower(), box=(int(box[1]), int(box[2])))
        raise InputError(f"--to {text} is no size; type 1080p, 2160p or a width and a height such as 1920x1080")

    def size_for(self, width: int, height: int, even: bool = False) -> tuple[int, int]:
        """Width and height of the result of `width` x `height` pixels; even: the side that follows is made even."""
        if self.box is not None:
            return self.box
        lines = self.lines or 0
        step = 2 if even else 1
        longer = step * max(1, round(max(width, height) * lines / min(width, height) / step))
        return (lines, longer) if width < height else (longer, lines)


def smallest_scale(width: int, height: int, target: Target, scales: Iterable[int]) -> int:
    """The smallest of `scales` by which `width` x `height` reaches the target in both directions.

    Raises InputError when the picture is as large already, or no scale suffices.
    """
    wide, high = target.size_for(width, height)
    if width >= wide and height >= high:
        raise InputError(
            f"--to {target.text} would make {wide}x{high}, and the source has {width}x{height} already: "
            "leave it as it is, or type a larger size"
        )
    known = sorted(scales)
    for scale in known:
        # An aspect that is kept is rounded; half a pixel too few is none too few.
        if width * scale + scale / 2 >= wide and height * scale + scale / 2 >= high:
            return scale
    largest = known[-1]
    raise InputError(
        f"--to {target.text} would make {wide}x{high} of {width}x{height}, and x{largest} is the largest scale; "
        f"type --to {min(width, height) * largest}p or less"
    )
