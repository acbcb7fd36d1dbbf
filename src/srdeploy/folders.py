"""What `run` was asked, as jobs: inputs and folders get their outputs, and all are done, several at once where it pays.

One damaged file does not stop the others; outcomes come in the order of the jobs.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from srdeploy import urls
from srdeploy.errors import InputError, OutputError, SrdeployError
from srdeploy.fit import Fit
from srdeploy.jobs import Choices, Done, Failed, Job, OnFrame, Skipped, run_job
from srdeploy.media import claimed_pixels, is_media, result_suffix
from srdeploy.media.base import PIPE
from srdeploy.shortage import shortage_said
from srdeploy.upscale import Upscaler

AT_ONCE = 3
"""Pictures on their way at one time: one is read, one is in the network, one is written."""

SMALL = 4 << 20
"""Pixels of a picture that is done beside others. Larger ones go alone, so that memory holds one of them."""

Outcome = TypeVar("Outcome")

_PART = re.compile(r"\..*\.part\.\w+")
_WORK = re.compile(r"\..*\.part")
"""Folders in which a result is being made, or was when its run was stopped."""


def plan_jobs(inputs: Iterable[Path], out: Path | None, label: str) -> list[Job]:
    """Give every input its output.

    A file becomes `<stem>_x4.<ext>` beside itself or in the folder `out`, or `out` itself when that names a file and
    there is one input. A folder is walked, and mirrored with its names under `out`, or under `<folder>_x4` beside it.
    Whether a file exists is found out when its job is done, so that one missing file does not stop the others.
    Of two inputs with the same output the later one is refused, and so is one that its result would replace.
    Raises InputError for a folder without pictures and videos, OutputError when a folder would be mirrored onto itself.
    """
    given = list(inputs)
    one_file = len(given) == 1 and not urls.is_dir(given[0]) and out is not None and _names_a_file(out)
    if out == PIPE and not one_file:
        raise OutputError("-o - sends one video to standard output; type one INPUT that is no folder")
    if PIPE in given and not one_file:
        raise InputError("a video from standard input has no name of its own; type -o with a file's name, or -o -")
    jobs: list[Job] = []
    for path in given:
        if urls.is_dir(path):
            jobs += _walk(path, out or urls.resolved(path).with_name(f"{urls.resolved(path).name}_{label}"))
        elif one_file and out is not None:
            jobs.append(Job(path, out))
        else:
            name = f"{path.stem}_{label}{result_suffix(path)}"
            jobs.append(Job(path, (out or path.parent) / name))
    return list(_refuse_clashes(jobs))


def _names_a_file(out: Path) -> bool:
    return out == PIPE or (not urls.is_dir(out) and (out.suffix != "" or urls.exists(out)))


def _walk(folder: Path, out: Path) -> Iterator[Job]:
    if urls.resolved(out) == urls.resolved(folder):
        raise OutputError(f"the results of the folder {folder} would go into itself; type -o with another folder")
    # Results of an earlier run into a folder inside this one are no sources.
    own = urls.resolved(out) if urls.resolved(folder) in urls.resolved(out).parents else None
    closed: list[Job] = []

    def refused(error: OSError) -> None:
        path = Path(error.filename)
        closed.append(Job(path, out, f"cannot read the folder {path}: {error.strerror}; check its permissions"))

    found = False
    for here, folders, names in urls.walk(folder, refused):
        folders[:] = sorted(name for name in folders if not _WORK.fullmatch(name))
        if own is not None and own in (urls.resolved(here), *urls.resolved(here).parents):
            continue
        sources = [here / name for name in sorted(names) if is_media(Path(name)) and not _PART.fullmatch(name)]
        found = found or bool(sources)
        yield from _mirrored(sources, folder, out)
    yield from closed
    if not found and not closed:
        raise InputError(f"the folder {folder} holds no picture or video; type the path of one that does")


def _mirrored(sources: list[Path], folder: Path, out: Path) -> Iterator[Job]:
    """The files of one folder with their results. Where two would have one name, that whose suffix changes keeps both:
    a.png and a.gif become a.png and a.gif.png."""
    suffixes = {path: result_suffix(path) for path in sources}
    wanted = [path.with_suffix(suffix) for path, suffix in suffixes.items()]
    for path, suffix in suffixes.items():
        result = path.with_suffix(suffix)
        if wanted.count(result) > 1 and result != path:
            result = path.with_name(f"{path.name}{suffix}")
        yield Job(path, out / result.relative_to(folder))


def _refuse_clashes(jobs: list[Job]) -> Iterator[Job]:
    seen: dict[Path, Path] = {}
    sources = {urls.resolved(job.input) for job in jobs}
    for job in jobs:
        if job.refused is not None or PIPE in (job.input, job.output):
            yield job
            continue
        key = urls.resolved(job.output)
        if key == urls.resolved(job.input):
            yield replace(job, refused=f"the result of {job.input} would replace it; type another -o")
        elif key in sources:
            yield replace(
                job, refused=f"the result of {job.input} would replace the source {job.output}; type another -o"
            )
        elif key in seen:
            both = f"{seen[key]} and {job.input} would both become {job.output}"
            yield replace(job, refused=f"{both}; run the second by itself with another -o")
        else:
            seen[key] = job.input
            yield job


def run_jobs(
    jobs: list[Job],
    upscaler: Fit[Upscaler],
    choices: Choices,
    on_job: Callable[[int, Job], None],
    on_frame: OnFrame,
) -> Iterator[Done | Skipped | Failed]:
    """Do the jobs and give each one's outcome in their order; an expected error of one is its outcome.

    Small pictures overlap: one goes through the network while others are read and written. What else there is (videos,
    large pictures) goes alone. They are not batched: on a CPU eight in one call take as long as eight calls. on_job and
    on_frame follow the job whose outcome comes next.
    """
    shared = upscaler.guarded_by(threading.Lock())
    interrupted = threading.Event()

    def do(job: Job, upscaler: Fit[Upscaler], on_frame: OnFrame, stop: threading.Event | None = None) -> Any:
        return outcome_of(job, lambda: run_job(job, upscaler, choices, on_frame, stop))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ahead: dict[int, Future[Done | Skipped | Failed]] = {}
        try:
            for index, job in enumerate(jobs):
                on_job(index, job)
                for later in range(index, min(index + AT_ONCE, len(jobs))):
                    if later not in ahead:
                        if not is_small(jobs[later]):
                            break
                        ahead[later] = pool.submit(do, jobs[later], shared, lambda *_: None, interrupted)
                future = ahead.pop(index, None)
                yield do(job, upscaler, on_frame) if future is None else future.result()
        finally:
            interrupted.set()
            pool.shutdown(cancel_futures=True)


def outcome_of(job: Job, do: Callable[[], Outcome]) -> Outcome | Failed:
    """What `do` gives for a job; an expected error is its outcome."""
    try:
        with shortage_said(f"for {job.input}"):
            return do()
    except SrdeployError as error:
        return Failed(str(job.input), str(error))
    except OSError as error:  # a name too long, a folder that may not be searched
        return Failed(str(job.input), f"{error.filename or job.input}: {error.strerror or error}; check the path")


def is_small(job: Job) -> bool:
    """Whether a job is a picture that may be done beside others, as far as its head says."""
    pixels = None if PIPE in (job.input, job.output) or urls.is_url(job.input) else claimed_pixels(job.input)
    return pixels is not None and pixels <= SMALL
