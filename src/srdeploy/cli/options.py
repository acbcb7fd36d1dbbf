"""Options that several verbs share."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from srdeploy.errors import InputError

MAX_TILE = 65536
"""The side of the largest tile; no picture that is read fills a larger one."""

Backend = Annotated[
    Literal["auto", "ort", "ort-tensorrt", "openvino", "tensorrt"],
    typer.Option("--backend", help="The engine that runs the network."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N. What cannot be had is an error.")]
Precision = Annotated[
    Literal["auto", "fp32", "fp16", "bf16", "int8"],
    typer.Option("--precision", help="What the network computes in. What cannot be had is an error."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=256, help="CPU threads for the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def parse_tile(text: str) -> int | Literal["auto", "none"]:
    """ "auto", "none" or a number of pixels from 1 on; anything else is wrong usage."""
    if text in ("auto", "none"):
        return "auto" if text == "auto" else "none"
    # Digits are counted first: int() refuses thousands of them with an error of its own.
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MAX_TILE:
        raise typer.BadParameter(
            f"{text[:40]!r} is not a tile: type auto, none or a number of pixels from 1 to {MAX_TILE}",
            param_hint="--tile",
        )
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """ "96x128" as (height, width), each from 8 to 4096; anything else is wrong usage."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(s.isdecimal() and len(s) < 6 and 8 <= int(s) <= 4096 for s in sides):
        raise typer.BadParameter(
            f"{text[:40]!r} is not a size: type HEIGHTxWIDTH, such as 128x192, from 8 to 4096 each", param_hint="--size"
        )
    return int(sides[0]), int(sides[1])


def path_or_none(text: str | None, option: str) -> Path | None:
    """`path_of`, of an option that need not be there."""
    return None if text is None else path_of(text, option)


def path_of(text: str, option: str) -> Path:
    """The path that a person typed for `option`. Raises InputError for an empty one, which Path takes for "."."""
    if not text:
        raise InputError(f"{option} is empty, as from an unset variable; type a path, or . for the present folder")
    return Path(text)


def path_or_url_of(text: str, option: str) -> Path:
    """The same where a URL may stand. Raises InputError for one of a kind that is not known or not installed."""
    if "://" not in text:
        return path_of(text, option)
    from srdeploy import urls

    return urls.path_of(text)


def parse_time(text: str | None, option: str) -> float | None:
    """Seconds, or minutes and hours before them with colons, as 90, 1:30 or 0:01:30.5; anything else is wrong usage."""
    if text is None:
        return None
    if not re.fullmatch(r"(\d{1,6}:){0,2}\d{1,9}(\.\d{1,9})?", text):
        raise typer.BadParameter(f"{text[:40]!r} is no time: type seconds, or 1:30 or 0:01:30", param_hint=option)
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
