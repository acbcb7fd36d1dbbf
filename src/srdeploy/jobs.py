"""One thing that `run` has to do: a source and its result, done whole or reported; nothing is overwritten unasked."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srdeploy.backends import Session
from srdeploy.errors import InputError, OutputError, SrdeployError
from srdeploy.fit import Fit
from srdeploy.media import VIDEO_SUFFIXES, EncodeOptions, is_whole, open_reader, open_writer
from srdeploy.media.base import MAX_PIXELS, PIPE, Reader, Writer, partial_path, refuse_special
from srdeploy.picture import Picture
from srdeploy.stream import upscale_stream
from srdeploy.upscale import Upscaler

OnFrame = Callable[[int, int | None, int], None]
"""Told how many frames are done, how many there will be (None = not known) and how many bytes they have so far."""

LARGEST_SCALE = 16
"""Of any network: a whole result is not refused for more pixels than a source may have."""

_GO_ON = "to go on type the same again with --resume"


@dataclass(frozen=True)
class Job:
    """One source and where its result goes; refused: why it cannot be done, known before any is begun."""

    input: Path
    output: Path
    refused: str | None = None


@dataclass(frozen=True)
class Done:
    """What one job made: `width` x `height` pixels, by a network that enlarges by `scale`.

    seconds: from opening the source to the result under its name.
    """

    input: str
    output: str
    frames: int
    seconds: float
    fps: float
    model: str
    precision: str
    backend: str
    device: str
    tile: int | str
    scale: int
    width: int
    height: int
    exact: bool
    notes: tuple[str, ...]
    retried: int = 0
    """Results that were black or no numbers, and were computed again in fp32."""

    def as_dict(self) -> dict[str, Any]:
        """The fields of the contract's `run` answer."""
        return asdict(self)


@dataclass(frozen=True)
class Failed:
    """A job that left no result under its name, and why, in one line."""

    input: str
    error: str


@dataclass(frozen=True)
class Skipped:
    """A job whose result was there already (`--resume`)."""

    input: str
    output: str


@dataclass(frozen=True)
class Choices:
    """How existing results, damaged and large sources are treated, and how videos are encoded.

    start, end: seconds between which frames of a video are enlarged; None = from the first, to the last.
    """

    overwrite: bool = False
    resume: bool = False
    keep_partial: bool = False
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    max_pixels: int = MAX_PIXELS
    start: float | None = None
    end: float | None = None


def run_job(
    job: Job,
    upscaler: Upscaler | Fit[Upscaler],
    choices: Choices,
    on_frame: OnFrame,
    interrupted: threading.Event | None = None,
) -> Done | Skipped:
    """Do one job: open, enlarge, write whole. on_frame is called as frames are written.

    interrupted: set by another thread, ends it by KeyboardInterrupt. Raises SrdeployError; then nothing stands under
    the output's name, except with choices.keep_partial the good part of a damaged source under
    `<stem>.partial<ext>`.
    """
    if job.refused is not None:
        raise OutputError(job.refused)
    if _is_done(job.output, choices):
        return Skipped(str(job.input), str(job.output))
    started = time.perf_counter()
    fit = upscaler if isinstance(upscaler, Fit) else _fixed(upscaler)
    reader = open_reader(
        job.input, max_pixels=choices.max_pixels, target=job.output, start=choices.start, end=choices.end
    )
    even = job.output.suffix.lower() in VIDEO_SUFFIXES
    try:
        chosen = fit.upscaler_for(reader.width, reader.height)
        size = fit.size_for(reader.width, reader.height, even)
        with _folder(job.output.parent):
            writer = _writer(job, reader, chosen, size, choices)
            enlarger, depths = fit.enlarger(even), set[int]()

            def enlarge(picture: Picture) -> Picture:
                depths.add(picture.depth)
                return enlarger(picture)

            frames = _write(reader, enlarge, writer, choices, on_frame, interrupted)
    finally:
        reader.close()
    seconds = time.perf_counter() - started
    notes = (*reader.notes, *writer.notes)
    # Deep pixels may have gone through another file, in another precision.
    session = chosen.session_for(max(depths, default=8))
    done = _done(job, chosen, session, frames, seconds, (reader.width, reader.height), size, notes)
    return replace(done, fps=round((frames - writer.begun) / seconds, 3))


def _fixed(upscaler: Upscaler) -> Fit[Upscaler]:
    return Fit(lambda _: upscaler, (upscaler.scale,))


def _writer(job: Job, reader: Reader, upscaler: Upscaler, size: tuple[int, int], choices: Choices) -> Writer:
    session = upscaler.session
    key = {
        "model": hashlib.sha256(session.path.read_bytes()).hexdigest(),
        "precision": session.arithmetic,
        "backend": session.backend,
        "device": session.device,
        # Exact tiles make no difference, and their size may follow the memory that is free.
        "tile": None
        if upscaler.exact_for(reader.height, reader.width)
        else upscaler.tile_name(reader.height, reader.width),
    }
    return open_writer(job.output, reader, *size, choices.encode, key, choices.resume, choices.overwrite)


def _write(
    reader: Reader,
    enlarge: Callable[[Picture], Picture],
    writer: Writer,
    choices: Choices,
    on_frame: OnFrame,
    interrupted: threading.Event | None,
) -> int:
    """All frames into a whole result; what stays of one that is stopped is said in the error."""
    try:
        with writer:
            try:
                frames = upscale_stream(
                    reader, enlarge, writer, lambda done: on_frame(done, reader.frames, writer.size), interrupted
                )
                writer.finish()
                return frames
            except InputError as error:
                kept = writer.keep_partial() if choices.keep_partial else None
                if kept is not None:
                    raise InputError(f"{error} (the good part is kept as {kept})") from None
                raise
    except InputError:
        raise
    except SrdeployError as error:
        if not writer.kept():
            raise
        raise type(error)(f"{error}; {writer.kept()} frames are done and kept: {_GO_ON}") from None
    except KeyboardInterrupt:
        if not writer.kept():
            raise
        raise KeyboardInterrupt(f"{writer.kept()} frames of {writer.path} are done and kept; {_GO_ON}") from None


def _is_done(output: Path, choices: Choices) -> bool:
    """Whether the result is there and is to be kept. Raises OutputError for what must not be replaced."""
    if output == PIPE:
        return False
    refuse_special(output)
    if output.exists() and not choices.overwrite:
        if choices.resume:
            # One that was cut off since is made again.
            return is_whole(output, LARGEST_SCALE**2 * choices.max_pixels)
        raise OutputError(f"{output} exists already; type --overwrite to replace it, or another -o")
    part = partial_path(output)
    # Said now, since after hours of work there would be no place for what was made.
    if choices.keep_partial and part.exists() and not choices.overwrite:
        raise OutputError(f"{part} exists already; type --overwrite to replace it, or move it away")
    return False


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder for a result; when there is none in the end, what was made and stayed empty is removed again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}; type another -o") from None
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # not empty: others' results are in it
                path.rmdir()
        raise


def _done(
    job: Job,
    upscaler: Upscaler,
    session: Session,
    frames: int,
    seconds: float,
    source: tuple[int, int],
    size: tuple[int, int],
    notes: tuple[str, ...],
) -> Done:
    retried, said = upscaler.log.take()
    return Done(
        input=str(job.input),
        output=str(job.output),
        frames=frames,
        seconds=round(seconds, 4),
        fps=round(frames / seconds, 3),
        model=session.spec.name,
        precision=session.arithmetic,
        backend=session.backend,
        device=session.device,
        tile=upscaler.tile_name(source[1], source[0]),
        scale=upscaler.scale,
        width=size[0],
        height=size[1],
        exact=upscaler.exact_for(source[1], source[0]),
        notes=(*notes, *said),
        retried=retried,
    )
