"""A row opened: what is run again and again, and what it turned out to be."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy import zoo
from srdeploy.bench.suite import Row
from srdeploy.environment import cores
from srdeploy.errors import InputError, ModelError
from srdeploy.fit import Fit
from srdeploy.folders import plan_jobs, run_jobs
from srdeploy.jobs import Choices, Done, Job, run_job
from srdeploy.media import open_reader
from srdeploy.media.kinds import PICTURE_SUFFIXES
from srdeploy.media.pictures import read_picture, write_picture
from srdeploy.metrics import luma
from srdeploy.picture import Pixels
from srdeploy.upscale import Upscaler, open_upscaler

SIDES = 160, 320
"""Of the pictures of many sizes, in pixels."""

Run = Callable[[Callable[[], None]], int]
"""Do the work once and return how many frames it made; the function given is called when the first one is there."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An open row. facts: the row's entries in the report, as found and not as asked. path: the model file, if any.

    result: what one run of a network made, for comparison with others; None of files.
    """

    row: Row
    facts: dict[str, Any]
    run: Run
    path: Path | None = None
    result: Callable[[], Pixels] | None = field(default=None, repr=False)


def open_row(row: Row, folder: Path) -> Subject:
    """Open what a row names. folder: where results of whole files may be written.

    Raises SrdeployError when it cannot be had: no such model, precision, engine, file or peer.
    """
    if row.peer:
        from srdeploy.bench.peers import open_peer

        return open_peer(row, folder)
    if row.kind == "sizes":
        return _pictures(row, folder)
    upscaler = _open(row, folder)
    return _whole_file(row, upscaler, folder) if row.kind == "video" else _network(row, upscaler)


def _open(row: Row, folder: Path) -> Upscaler:
    return open_upscaler(
        str(_engine(row, folder)) if row.backend == "tensorrt" else row.model,
        backend=row.backend,
        device=row.device,
        precision="auto" if row.backend == "tensorrt" else row.precision,  # type: ignore[arg-type]  # checked there
        threads=row.threads or None,
    )


def _engine(row: Row, folder: Path) -> Path:
    """The engine of a row's model, built here for the row's size."""
    from srdeploy.backends.trt_build import BuildOptions
    from srdeploy.bench.built import engine_for

    precision: Any = "fp32" if row.precision == "auto" else row.precision
    height, width = probe_video(row) if row.kind == "video" else (row.height, row.width)
    size = width, height
    return engine_for(zoo.find(row.model, precision=precision), folder, row.device, BuildOptions(size, size, size))


def still(height: int, width: int, channels: int, batch: int = 1) -> Pixels:
    """A shipped picture, repeated to fill (batch, H, W, channels) uint8: real structure, the same everywhere."""
    pixels = read_picture(zoo.parity_pictures()[-1]).planes[0]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if channels == 1:
        pixels = np.rint(luma(pixels)).astype(np.uint8)[:, :, None]
    times = (-(-height // pixels.shape[0]), -(-width // pixels.shape[1]), 1)
    one = np.tile(pixels, times)[:height, :width]
    return np.ascontiguousarray(np.repeat(one[None], batch, axis=0))


def network_subject(
    row: Row, enlarge: Callable[[Pixels], Pixels], channels: int, scale: int, facts: dict[str, Any], path: Path | None
) -> Subject:
    """A function of pictures (uint8 NHWC both) on the row's picture."""
    pixels = still(row.height, row.width, channels, row.batch)

    def run(on_first: Callable[[], None]) -> int:
        enlarge(pixels)
        on_first()
        return row.batch

    found = {
        **common_facts(row, scale),
        "input": [row.height, row.width],
        "batch": row.batch,
        "channels": channels,
        **facts,
    }
    return Subject(row, found, run, path, lambda: enlarge(pixels))


def common_facts(row: Row, scale: int) -> dict[str, Any]:
    """Entries that every row of a report begins with."""
    return {"kind": row.kind, "model": row.model, "scale": scale, "threads": row.threads or cores(), "peer": row.peer}


def probe_video(row: Row) -> tuple[int, int]:
    """Height and width of the row's file; InputError when it is not there or is no video."""
    path = Path(row.file)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise InputError(f"{path} is a picture; type --video and the path of a video, or --size for the network alone")
    reader = open_reader(path)
    try:
        return reader.height, reader.width
    finally:
        reader.close()


def _network(row: Row, upscaler: Upscaler) -> Subject:
    session, size = upscaler.session, upscaler.session.spec.size
    if size not in (None, (row.height, row.width)):
        raise ModelError(f"{session.path.name} takes {size[1]}x{size[0]} pixels only; type --size {size[1]}x{size[0]}")
    facts = {
        "model": session.spec.name,
        "backend": session.backend,
        "precision": session.arithmetic,
        "device": session.device,
        "parameters": session.spec.parameters,
        "tile": "none",
    }
    return network_subject(row, session.run, session.spec.channels, session.spec.scale, facts, session.path)


def picture_sizes(count: int) -> list[tuple[int, int]]:
    """So many different (height, width), sides from SIDES, the same every time."""
    random = np.random.default_rng(0)
    found: dict[tuple[int, int], None] = {}
    while len(found) < count:
        height, width = random.integers(SIDES[0], SIDES[1] + 1, 2)
        found[int(height), int(width)] = None
    return list(found)


def _pictures(row: Row, folder: Path) -> Subject:
    sizes = picture_sizes(row.batch)
    side = round(math.sqrt(sum(height * width for height, width in sizes) / row.batch))
    if row.sizes == 1:
        sizes = [(side, side)] * row.batch
    pictures = [still(height, width, 3)[0] for height, width in sizes]
    session = _open(row, folder).session
    run = _from_files(row, pictures, folder) if row.file else _from_arrays(row, pictures, folder)
    facts = {
        **common_facts(row, session.spec.scale),
        "model": session.spec.name,
        "backend": session.backend,
        "precision": session.arithmetic,
        "device": session.device,
        "input": [side, side],
        "batch": row.batch,
        "sizes": row.sizes,
        "parameters": session.spec.parameters,
        "tile": "auto",
        **({"file": row.file} if row.file else {}),
    }
    return Subject(row, facts, run, session.path)


def _from_arrays(row: Row, pictures: list[Pixels], folder: Path) -> Run:
    def run(on_first: Callable[[], None]) -> int:
        upscaler = _open(row, folder)  # each time: one that has met these sizes has prepared itself for them
        for number, picture in enumerate(pictures):
            upscaler(picture)
            if not number:
                on_first()
        return row.batch

    return run


def _from_files(row: Row, pictures: list[Pixels], folder: Path) -> Run:
    source = Path(tempfile.mkdtemp(dir=folder))
    for number, picture in enumerate(pictures):
        write_picture(source / f"{number}.png", picture)

    def run(on_first: Callable[[], None]) -> int:
        upscaler = _open(row, folder)
        fit = Fit(lambda _: upscaler, (upscaler.scale,))
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            jobs = plan_jobs([source], Path(inner), fit.label)
            for number, outcome in enumerate(run_jobs(jobs, fit, Choices(), lambda *_: None, lambda *_: None)):
                assert isinstance(outcome, Done)
                if not number:
                    on_first()
        return row.batch

    return run


def _whole_file(row: Row, upscaler: Upscaler, folder: Path) -> Subject:
    session, source = upscaler.session, Path(row.file)
    height, width = probe_video(row)

    def run(on_first: Callable[[], None]) -> int:
        def on_frame(done: int, _expected: int | None, _size: int) -> None:
            if done == 1:
                on_first()

        with tempfile.TemporaryDirectory(dir=folder) as inner:
            done = run_job(Job(source, Path(inner) / source.name), upscaler, Choices(), on_frame)
        assert isinstance(done, Done)
        return done.frames

    facts = {
        **common_facts(row, upscaler.scale),
        "model": session.spec.name,
        "backend": session.backend,
        "precision": session.arithmetic,
        "device": session.device,
        "input": [height, width],
        "batch": 1,
        "parameters": session.spec.parameters,
        "tile": upscaler.tile_for(height, width) or "none",
        "file": source.name,
    }
    return Subject(row, facts, run, session.path)
