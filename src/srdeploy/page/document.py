"""The page of `srdeploy compare`: one HTML file with its pictures, its style and its program inside."""

import base64
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from srdeploy.atomic import atomic
from srdeploy.errors import InputError, OutputError
from srdeploy.media.base import check_place
from srdeploy.media.encode import encode
from srdeploy.page.pairs import Pair, Rgb
from srdeploy.picture import Picture

_TEMPLATE = Path(__file__).with_name("compare.html")
_MARK = "/*PAIRS*/[]"


def write_page(path: Path, pairs: Iterable[Pair], names: tuple[str, str], overwrite: bool) -> list[Pair]:
    """Write the page, whole or not at all, and return what was measured of its pairs (their pixels are let go).

    names: what the two sides are called. Raises OutputError when it cannot be written or is there already, and what
    reading the pairs raises.
    """
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists already; type --overwrite to replace it, or -o with another name")
    check_place(path)
    shown: list[Pair] = []
    head, tail = _TEMPLATE.read_text(encoding="utf-8").split(_MARK)
    with atomic(path, "; type another -o") as part, part.open("x", encoding="utf-8", errors="replace") as file:
        file.write(head + "[")
        for pair in pairs:
            file.write((",\n" if shown else "") + _entry(pair, names))
            shown.append(replace(pair, a=pair.a[:1, :1], b=pair.b[:1, :1]))  # their numbers, without their pixels
        if not shown:
            raise InputError("there is nothing to compare; type the paths of two pictures, two folders or two videos")
        file.write("]" + tail)
    return shown


def _entry(pair: Pair, names: tuple[str, str]) -> str:
    pictures = {
        "names": names,
        "size": [pair.a.shape[1], pair.a.shape[0]],
        "a": _address(pair.a),
        "b": _address(pair.b),
    }
    entry = pair.numbers() | pictures
    # No name can end the script that it stands in.
    return json.dumps(entry).replace("<", "\\u003c")


def _address(pixels: Rgb) -> str:
    data = encode(Path("picture.png"), Picture("rgb", (pixels,)))
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
