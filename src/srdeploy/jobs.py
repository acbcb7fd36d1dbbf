"""One thing that `run` has to do: a source and its result, done whole or reported; nothing is overwritten unasked."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srdeploy import urls
from srdeploy.atomic import result_folder
from srdeploy.errors import InputError, OutputError, SrdeployError
from srdeploy.fit import Fit
from srdeploy.media import VIDEO_SUFFIXES, EncodeOptions, is_whole, open_reader, open_writer
from srdeploy.media.base import MAX_PIXELS, PIPE, Reader, Writer, partial_path, refuse_special
from srdeploy.media.names import files_of, is_sequence
from srdeploy.picture import Picture
from srdeploy.pipeline import upscale_stream
from srdeploy.shortage import shortage_said
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
    """Results that were no numbers, or black or white where the picture is not, and were computed again in fp32."""

    def as_dict(self) -> dict[str, Any]:
        """The fields of the contract's `run` answer."""
        return asdict(self)

    def finished(self, frames: int, made: int, seconds: float, notes: tuple[str, ...], retried: int) -> "Done":
        """The same with its numbers; made: how many of the frames were made now, and not by a run that was stopped."""
        return replace(
            self,
            frames=frames,
            seconds=round(seconds, 4),
            fps=round(made / seconds, 3),
            notes=notes,
            retried=retried,
        )


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
    deinterlace: interlaced frames of a video become progressive ones.
    """

    overwrite: bool = False
    resume: bool = False
    keep_partial: bool = False
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    max_pixels: int = MAX_PIXELS
    start: float | None = None
    end: float | None = None
    deinterlace: bool = False


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
    skipped = skipped_by(job, choices)
    if skipped is not None:
        return skipped
    return on_this_machine(job, choices, lambda job: _made(job, upscaler, choices, on_frame, interrupted))


def skipped_by(job: Job, choices: Choices) -> Skipped | None:
    """The answer to a job whose result is there already (`--resume`); raises OutputError if it must not begin."""
    if job.refused is not None:
        raise OutputError(job.refused)
    return Skipped(str(job.input), str(job.output)) if _is_done(job.input, job.output, choices) else None


def on_this_machine(job: Job, choices: Choices, do: Callable[[Job], Done]) -> Done:
    """Have `do` work on files here where the job's are behind URLs; what comes out is sent when it is whole."""
    if not (urls.is_url(job.input) or urls.is_url(job.output)):
        return do(job)
    if is_sequence(job.input):
        raise InputError(f"{job.input} are numbered pictures, which are not fetched one by one; type a path for them")
    with urls.fetched(job.input) as source:
        result = urls.local_place(job.output)

        def renamed(text: str) -> str:
            return text.replace(str(source), str(job.input)).replace(str(result), str(job.output))

        try:
            done = do(Job(source, result))
        except SrdeployError as error:
            kept = partial_path(result)
            if urls.is_url(job.output) and kept.exists():
                urls.send(kept, partial_path(job.output))
            raise type(error)(renamed(str(error)).replace(str(kept), str(partial_path(job.output)))) from None
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(renamed(str(error))) from None
        finally:
            urls.clear_place(job.output)
        if urls.is_url(job.output):
            urls.send(result, job.output)
            urls.clear_place(job.output)
    return replace(done, input=str(job.input), output=str(job.output))


def _made(
    job: Job,
    upscaler: Upscaler | Fit[Upscaler],
    choices: Choices,
    on_frame: OnFrame,
    interrupted: threading.Event | None,
) -> Done:
    started = time.perf_counter()
    fit = upscaler if isinstance(upscaler, Fit) else _fixed(upscaler)
    reader = source_of(job, choices)
    even = job.output.suffix.lower() in VIDEO_SUFFIXES
    try:
        chosen = fit.upscaler_for(reader.width, reader.height)
        size = fit.size_for(reader.width, reader.height, even)
        if even:
            chosen.expect(reader.height, reader.width)
        with result_folder(job.output.parent):
            writer = open_writer(
                job.output,
                reader,
                *size,
                choices.encode,
                key_of(chosen, reader.width, reader.height, reader.depth),
                choices.resume,
                choices.overwrite,
            )
            enlarger, depths = fit.enlarger(even), set[int]()

            def enlarge(picture: Picture) -> Picture:
                depths.add(picture.depth)
                return enlarger(picture)

            def fill() -> int:
                with shortage_said(f"for {job.input}"):
                    return upscale_stream(
                        reader,
                        enlarge,
                        writer,
                        lambda done: on_frame(done, reader.frames, writer.size),
                        interrupted,
                        chosen.session.at_once,
                    )

            frames = write_whole(writer, fill, choices)
    finally:
        reader.close()
    retried, said = chosen.log.take()
    begun = answer_of(job, chosen, max(depths, default=8), (reader.width, reader.height), size)
    notes = (*reader.notes, *writer.notes, *said)
    return begun.finished(frames, frames - writer.begun, time.perf_counter() - started, notes, retried)


def _fixed(upscaler: Upscaler) -> Fit[Upscaler]:
    return Fit(lambda _: upscaler, (upscaler.scale,))


def source_of(job: Job, choices: Choices) -> Reader:
    """What a job reads, opened. Raises InputError."""
    return open_reader(
        job.input,
        max_pixels=choices.max_pixels,
        target=job.output,
        start=choices.start,
        end=choices.end,
        deinterlace=choices.deinterlace,
    )


def key_of(upscaler: Upscaler, width: int, height: int, depth: int) -> dict[str, Any]:
    """What the pixels of a result depend on, beside a source of that size and so many bits."""
    # Deep pixels go through a file of their own.
    session = upscaler.session_for(depth)
    return {
        "model": hashlib.sha256(session.path.read_bytes()).hexdigest(),
        "precision": session.arithmetic,
        "backend": session.backend,
        "device": session.device,
        # Exact tiles make no difference, and their size may follow the memory that is free.
        "tile": None if upscaler.exact_for(height, width) else upscaler.tile_name(height, width),
    }


def answer_of(job: Job, upscaler: Upscaler, depth: int, source: tuple[int, int], size: tuple[int, int]) -> Done:
    """The answer to a job but for its numbers; source, size: (width, height) of what is read and of what is made."""
    # Deep pixels may go through another file, in another precision.
    session = upscaler.session_for(depth)
    return Done(
        input=str(job.input),
        output=str(job.output),
        frames=0,
        seconds=0.0,
        fps=0.0,
        model=session.spec.name,
        precision=session.arithmetic,
        backend=session.backend,
        device=session.device,
        tile=upscaler.tile_name(source[1], source[0]),
        scale=upscaler.scale,
        width=size[0],
        height=size[1],
        exact=upscaler.exact_for(source[1], source[0]),
        notes=(),
    )


def write_whole(writer: Writer, fill: Callable[[], int], choices: Choices) -> int:
    """Have `fill` give the writer its frames, and finish; return their number, which `fill` returns.

    What stays of a result that is stopped is said in the error.
    """
    taken = os.path.lexists(writer.path)
    try:
        with writer:
            try:
                frames = fill()
                if not taken and os.path.lexists(writer.path) and not choices.overwrite:
                    raise OutputError(f"{writer.path} was made by another meanwhile; move it away, or type --overwrite")
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


def _is_done(source: Path, output: Path, choices: Choices) -> bool:
    """Whether the result is there and is to be kept. Raises OutputError for what must not be replaced."""
    if output == PIPE:
        return False
    if is_sequence(output):
        return (
            choices.resume
            and is_sequence(source)
            and is_whole(output)
            and len(files_of(output)) == len(files_of(source))
        )
    if not urls.is_url(output):
        refuse_special(output)
    if urls.exists(output) and not choices.overwrite:
        if choices.resume:
            # One that was cut off since is made again.
            return urls.is_url(output) or is_whole(output, LARGEST_SCALE**2 * choices.max_pixels)
        raise OutputError(f"{output} exists already; type --overwrite to replace it, or another -o")
    part = partial_path(output)
    if choices.keep_partial and not urls.is_url(output):
        refuse_special(part)
    # Said now, since after hours of work there would be no place for what was made.
    if choices.keep_partial and urls.exists(part) and not choices.overwrite:
        raise OutputError(f"{part} exists already; type --overwrite to replace it, or move it away")
    return False
