"""Options that several verbs share."""

from typing import Annotated, Literal

import typer

Backend = Annotated[
    Literal["auto", "ort", "openvino", "tensorrt"], typer.Option("--backend", help="The engine that runs the network.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N. What cannot be had is an error.")]
Precision = Annotated[
    Literal["auto", "fp32", "fp16", "bf16", "int8"],
    typer.Option("--precision", help="What the network computes in. What cannot be had is an error."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads for the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def parse_tile(text: str) -> int | Literal["auto", "none"]:
    """ "auto", "none" or a number of pixels from 1 on; anything else is wrong usage."""
    if text in ("auto", "none"):
        return "auto" if text == "auto" else "none"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not a tile: type auto, none or a number of pixels")
    return int(text)
