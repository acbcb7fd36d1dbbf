"""What is to be measured: a suite from one TOML file, and the rows that it comes to."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Literal

from srdeploy import zoo
from srdeploy.errors import RecipeError
from srdeploy.recipe import load_recipe

Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]
Peer = Literal[
    "bare ort",
    "bare openvino",
    "onnxruntime",
    "torch export",
    "pytorch",
    "pytorch compiled",
    "opencv",
    "ncnn",
    "plain script",
    "ffmpeg bicubic",
    "ffmpeg lanczos",
    "ffmpeg xbr",
    "ffmpeg hqx",
    "ffmpeg super2xsai",
]

MAX_SIDE = 16384
"""Of a picture to measure on."""

FOLDER = "folder of PNG"
"""What a row of many pictures goes through, when not arrays."""

BARE = "bare "
"""Begins the name of a peer that is an engine with nothing of srdeploy around it: our file, our settings."""


@dataclass(frozen=True)
class Network:
    """Networks alone, uint8 pixels in and out: one row for each combination. An empty `models` means all that ship.

    threads 0: every core.
    """

    models: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ("fp32",)
    backends: tuple[Literal["auto", "ort", "ort-tensorrt", "openvino", "tensorrt"], ...] = ("auto",)
    sizes: tuple[str, ...] = ("480x270",)
    threads: tuple[int, ...] = (0,)
    batch: tuple[int, ...] = (1,)
    device: str = "auto"


@dataclass(frozen=True)
class Sizes:
    """So many pictures of as many sizes, and beside them as many of one size with the same pixels in all: opening the
    model and enlarging RGB pictures that it has not met, whose sides are 160 to 320 pixels. Two rows each.

    through: "arrays", in Python; "files", a folder of PNG to a folder of PNG, as `srdeploy run FOLDER` does.
    """

    models: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ("fp32",)
    backends: tuple[Literal["auto", "ort", "openvino"], ...] = ("auto",)
    through: tuple[Literal["arrays", "files"], ...] = ("arrays",)
    count: int = 100
    device: str = "auto"


@dataclass(frozen=True)
class Video:
    """Whole files, decoded, enlarged and encoded as `srdeploy run` does. file: relative to the suite's folder."""

    file: str
    models: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ("fp32",)
    backends: tuple[Literal["auto", "ort", "ort-tensorrt", "openvino", "tensorrt"], ...] = ("auto",)
    threads: tuple[int, ...] = (0,)
    device: str = "auto"


@dataclass(frozen=True)
class Peers:
    """What a person would take instead, at the same work: networks of the same weights, or ffmpeg or a plain script
    (decode, ONNX Runtime, encode) on the same file. "bare ort", "bare openvino": the engine alone with our file.

    precisions, device: of PyTorch; fp32 and int8 of bare engines; every other peer is fp32 on the CPU.
    """

    peers: tuple[Peer, ...]
    models: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ("480x270",)
    threads: tuple[int, ...] = (0,)
    precisions: tuple[Literal["fp32", "fp16", "int8"], ...] = ("fp32",)
    device: str = "cpu"
    file: str = ""
    scale: int = 4


@dataclass(frozen=True)
class Parity:
    """Every shipped model by every engine against PyTorch. sets: folders of pictures, relative to the suite's folder;
    where one is missing, `instead` is used for all of them, and the report says so. device: "cpu" or a GPU, whose
    engines are then proved."""

    sets: tuple[str, ...]
    instead: str
    models: tuple[str, ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.sets:
            raise ValueError("sets is empty; name a folder of pictures at least")


@dataclass(frozen=True)
class Suite:
    """A TOML file in benchmarks/. limit_s: for everything; narrow: half the width of a median's interval, as a share
    of it, at which a row needs no more samples. quality: a folder of `srdeploy eval --json` reports
    (NAME.PRECISION.set5.json), relative to the suite's folder, for the plot of quality against time."""

    name: str
    limit_s: float = 60.0
    narrow: float = 0.02
    quality: str = ""
    network: tuple[Network, ...] = ()
    sizes: tuple[Sizes, ...] = ()
    video: tuple[Video, ...] = ()
    peers: tuple[Peers, ...] = ()
    parity: Parity | None = None
    folder: Path = field(default=Path(), compare=False, metadata={"in_recipe": False})

    def __post_init__(self) -> None:
        if not 0 < self.limit_s <= 86400 or not 0 < self.narrow < 1:
            raise ValueError(
                f"limit_s is {self.limit_s:g} and narrow {self.narrow:g}; type seconds, and a share below 1"
            )
        if not (self.network or self.sizes or self.video or self.peers or self.parity):
            raise ValueError(
                "it measures nothing; add a [[network]], [[sizes]], [[video]], [[peers]] or [parity] table"
            )


@dataclass(frozen=True)
class Row:
    """One thing to measure. kind "network": pixels in, pixels out; "sizes": `batch` pictures of `sizes` sizes through a
    model just opened, from files to files where `file` is FOLDER; "video": a file to a file. threads 0: every core."""

    kind: Literal["network", "sizes", "video"]
    backend: str
    model: str
    precision: str = "fp32"
    device: str = "auto"
    height: int = 0
    width: int = 0
    threads: int = 0
    batch: int = 1
    file: str = ""
    scale: int = 4
    peer: bool = False
    sizes: int = 1


def load_suite(path: Path) -> Suite:
    """Read a suite; RecipeError, naming file and key, when it is none. Its sizes and numbers are checked here too."""
    suite = replace(load_recipe(path, Suite), folder=path.resolve().parent)
    try:
        rows(suite)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    return suite


def rows(suite: Suite) -> list[Row]:
    """Every row of a suite, in its order; what several of its tables ask for is one row."""
    found = [("network", list(_network_rows(table))) for table in suite.network]
    found += [("sizes", list(_sizes_rows(table))) for table in suite.sizes]
    found += [("video", list(_video_rows(table, suite.folder))) for table in suite.video]
    found += [("peers", list(_peer_rows(table, suite.folder))) for table in suite.peers]
    empty = next((kind for kind, table in found if not table), None)
    if empty is not None:
        raise RecipeError(f"a [[{empty}]] table measures nothing: a list in it is empty; fill it, or leave it out")
    return _bare_behind_ours(list(dict.fromkeys(row for _, table in found for row in table)))


def _bare_behind_ours(found: list[Row]) -> list[Row]:
    """An engine alone takes its turn right after our session on it, so that the machine is the same for both."""
    places = {row: index for index, row in enumerate(found)}

    def place(row: Row) -> tuple[int, bool]:
        ours = replace(row, backend=row.backend.removeprefix(BARE), peer=False)
        return places.get(ours, places[row]), row.backend.startswith(BARE)

    return sorted(found, key=place)


def parse_size(text: str) -> tuple[int, int]:
    """ "480x270" (width x height, as videos are named) as (height, width); RecipeError for anything else."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and len(width) <= 5 and len(height) <= 5):
        raise RecipeError(f"{text[:40]!r} is no size; type WIDTHxHEIGHT, such as 480x270")
    sides = int(height), int(width)
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise RecipeError(f"the size {text} has a side that is not 1 to {MAX_SIDE}; type one such as 480x270")
    return sides


def _checked(values: tuple[int, ...], what: str, least: int) -> tuple[int, ...]:
    wrong = next((value for value in values if not least <= value <= 256), None)
    if wrong is not None:
        raise RecipeError(f"{what} is {wrong}; type {least} to 256")
    return values


def _network_rows(table: Network) -> Iterator[Row]:
    threads, batches = _checked(table.threads, "threads", 0), _checked(table.batch, "batch", 1)
    for model, precision, backend, size, thread, batch in product(
        table.models or tuple(zoo.names()), table.precisions, table.backends, table.sizes, threads, batches
    ):
        height, width = parse_size(size)
        yield Row("network", backend, model, precision, table.device, height, width, thread, batch)


def _sizes_rows(table: Sizes) -> Iterator[Row]:
    (count,) = _checked((table.count,), "count", 2)
    for through, model, precision, backend, sizes in product(
        table.through, table.models or tuple(zoo.names()), table.precisions, table.backends, (count, 1)
    ):
        file = FOLDER if through == "files" else ""
        yield Row("sizes", backend, model, precision, table.device, batch=count, sizes=sizes, file=file)


def _video_rows(table: Video, folder: Path) -> Iterator[Row]:
    threads = _checked(table.threads, "threads", 0)
    models = table.models or tuple(zoo.names())
    for model, precision, backend, thread in product(models, table.precisions, table.backends, threads):
        file = str(folder / table.file)
        yield Row("video", backend, model, precision, table.device, threads=thread, file=file)


def _peer_rows(table: Peers, folder: Path) -> Iterator[Row]:
    threads = _checked(table.threads, "threads", 0)
    if table.scale not in (2, 3, 4):
        raise RecipeError(f"scale is {table.scale}; type 2, 3 or 4")
    filters = [peer for peer in table.peers if peer.startswith("ffmpeg")]
    scripts = [peer for peer in table.peers if peer == "plain script"]
    if (filters or scripts) and not table.file:
        raise RecipeError(f'peer {[*filters, *scripts][0]!r} enlarges files; add file = "..."')
    file = str(folder / table.file)
    for model, script, thread in product(table.models or (zoo.DEFAULT,), scripts, threads):
        yield Row("video", script, model, "fp32", "cpu", threads=thread, file=file, peer=True)
    for peer, thread in product(filters, threads):
        filter_name = peer.partition(" ")[2]
        yield Row("video", "ffmpeg", filter_name, "", "cpu", threads=thread, file=file, scale=table.scale, peer=True)
    networks = [peer for peer in table.peers if peer not in {*filters, *scripts}]
    for model, peer, precision, size, thread in product(
        table.models or tuple(zoo.names()), networks, table.precisions, table.sizes, threads
    ):
        can = {"pytorch": ("fp32", "fp16"), BARE: ("fp32", "int8")}
        known = next((found for start, found in can.items() if peer.startswith(start)), ("fp32",))
        if precision not in known or (table.device != "cpu" and not peer.startswith("pytorch")):
            where = "" if peer.startswith("pytorch") else " on the CPU"
            raise RecipeError(
                f"peer {peer!r} is measured in {' and '.join(known)}{where} only; put it into a table of its own"
            )
        height, width = parse_size(size)
        yield Row("network", peer, model, precision, table.device, height, width, thread, peer=True)
