"""What `run` has to do: inputs become jobs with an output each, and each job is done whole or reported.

One damaged file does not stop the others; nothing existing is overwritten unless asked.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from srdeploy.errors import InputError, OutputError, SrdeployError
from srdeploy.media import EncodeOptions, is_media, open_reader, open_writer, result_suffix
from srdeploy.media.base import Reader, Writer, partial_path, refuse_special
from srdeploy.stream import upscale_stream
from srdeploy.upscale import Upscaler

_GO_ON = "to go on type the same again with --resume"


@dataclass(frozen=True)
class Job:
    """One source and where its result goes; refused: why it cannot be done, known before any is begun."""

    input: Path
    output: Path
    refused: str | None = None


@dataclass(frozen=True)
class Done:
    """What one job made. seconds: from opening the source to the result under its name."""

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
    """How existing results and damaged sources are treated, and how videos are encoded."""

    overwrite: bool = False
    resume: bool = False
    keep_partial: bool = False
    encode: EncodeOptions = field(default_factory=EncodeOptions)


def plan_jobs(inputs: Iterable[Path], out: Path | None, scale: int) -> list[Job]:
    """Give every input its output.

    A file becomes `<stem>_x4.<ext>` beside itself or in the folder `out`, or `out` itself when that names a file and
    there is one input. A folder is walked, and mirrored with its names under `out`, or under `<folder>_x4` beside it.
    Whether a file exists is found out when its job is done, so that one missing file does not stop the others.
    Of two inputs with the same output the later one is refused, and so is one that its result would replace.
    Raises InputError for a folder without pictures and videos, OutputError when a folder would be mirrored onto itself.
    """
    given = list(inputs)
    one_file = len(given) == 1 and not given[0].is_dir() and out is not None and _names_a_file(out)
    jobs: list[Job] = []
    for path in given:
        if path.is_dir():
            jobs += _walk(path, out or path.resolve().with_name(f"{path.resolve().name}_x{scale}"))
        elif one_file and out is not None:
            jobs.append(Job(path, out))
        else:
            name = f"{path.stem}_x{scale}{result_suffix(path)}"
            jobs.append(Job(path, (out or path.parent) / name))
    return list(_refuse_clashes(jobs))


def _names_a_file(out: Path) -> bool:
    return not out.is_dir() and out.suffix != ""


def _walk(folder: Path, out: Path) -> Iterator[Job]:
    if out.resolve() == folder.resolve():
        raise OutputError(f"the results of the folder {folder} would go into itself; type -o with another folder")
    # Results of an earlier run into a folder inside this one are no sources.
    own = out.resolve() if folder.resolve() in out.resolve().parents else None
    found = False
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_media(path) and own not in path.resolve().parents:
            found = True
            yield Job(path, (out / path.relative_to(folder)).with_suffix(result_suffix(path)))
    if not found:
        raise InputError(f"the folder {folder} holds no picture or video; type the path of one that does")


def _refuse_clashes(jobs: list[Job]) -> Iterator[Job]:
    seen: dict[Path, Path] = {}
    for job in jobs:
        key = job.output.resolve()
        if key == job.input.resolve():
            yield replace(job, refused=f"the result of {job.input} would replace it; type another -o")
        elif key in seen:
            both = f"{seen[key]} and {job.input} would both become {job.output}"
            yield replace(job, refused=f"{both}; run the second by itself with another -o")
        else:
            seen[key] = job.input
            yield job


def run_job(
    job: Job, upscaler: Upscaler, choices: Choices, on_frame: Callable[[int, int | None], None]
) -> Done | Skipped:
    """Do one job: open, enlarge, write whole. on_frame(done, expected or None) is called as frames are written.

    Raises SrdeployError; then nothing stands under the output's name, except with choices.keep_partial the good part of
    a damaged source under `<stem>.partial<ext>`.
    """
    if job.refused is not None:
        raise OutputError(job.refused)
    if _is_done(job.output, choices):
        return Skipped(str(job.input), str(job.output))
    started = time.perf_counter()
    reader = open_reader(job.input)
    try:
        with _folder(job.output.parent):
            writer = _writer(job, reader, upscaler, choices)
            frames = _write(reader, upscaler, writer, choices, on_frame)
    finally:
        reader.close()
    seconds = time.perf_counter() - started
    return _done(job, upscaler, frames, seconds, reader.height, reader.width, (*reader.notes, *writer.notes))


def _writer(job: Job, reader: Reader, upscaler: Upscaler, choices: Choices) -> Writer:
    width, height = reader.width * upscaler.scale, reader.height * upscaler.scale
    session = upscaler.session
    key = {
        "model": hashlib.sha256(session.path.read_bytes()).hexdigest(),
        "precision": session.arithmetic,
        "backend": session.backend,
        "device": session.device,
        "tile": upscaler.tile_for(reader.height, reader.width),
        "exact": upscaler.exact,
    }
    return open_writer(job.output, reader, width, height, choices.encode, key, must_go_on=choices.resume)


def _write(
    reader: Reader,
    upscaler: Upscaler,
    writer: Writer,
    choices: Choices,
    on_frame: Callable[[int, int | None], None],
) -> int:
    """All frames into a whole result; what stays of one that is stopped is said in the error."""
    try:
        with writer:
            try:
                frames = upscale_stream(reader, upscaler, writer, lambda done: on_frame(done, reader.frames))
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
    refuse_special(output)
    if output.exists() and not choices.overwrite:
        if choices.resume:
            return True
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
    job: Job, upscaler: Upscaler, frames: int, seconds: float, height: int, width: int, notes: tuple[str, ...]
) -> Done:
    session = upscaler.session
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
        tile=upscaler.tile_for(height, width) or "none",
        exact=upscaler.exact,
        notes=(*notes, *said),
        retried=retried,
    )


def run_jobs(
    jobs: list[Job],
    upscaler: Upscaler,
    choices: Choices,
    on_job: Callable[[int, Job], None],
    on_frame: Callable[[int, int | None], None],
) -> Iterator[Done | Skipped | Failed]:
    """Do the jobs in order and give each one's outcome as it comes; an expected error of one is its outcome."""
    for index, job in enumerate(jobs):
        on_job(index, job)
        try:
            yield run_job(job, upscaler, choices, on_frame)
        except SrdeployError as error:
            yield Failed(str(job.input), str(error))
        except OSError as error:  # a name too long, a folder that may not be searched
            yield Failed(str(job.input), f"{error.filename or job.input}: {error.strerror or error}; check the path")
