"""Files behind URLs (s3://, gs://, file:// and whatever else fsspec knows): the only door to fsspec.

A URL is a path like any other, of universal-pathlib's kind. What is read is fetched to a file of this machine first,
and what is made is sent when it is whole: an object appears under its name complete, or not at all.
"""

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from srdeploy import atomic
from srdeploy.environment import cache_folder
from srdeploy.errors import InputError, OutputError, SrdeployError
from srdeploy.extras import require

_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2"})
"""Where an object that is sent has its name only when all of it is there, so that nothing need be renamed."""

_KEPT = 2
"""Fetched files that stay for the next who asks: segments of one video are made one after another."""


def path_of(text: str) -> Path:
    """The path that a text names, a URL's if it has a scheme. Raises InputError for a scheme that is not known."""
    if "://" not in text:
        return Path(text)
    scheme, _, rest = text.partition("://")
    if scheme == "file":
        return Path(rest)
    upath = require("upath", "urls")
    try:
        path = upath.UPath(text)
        _ = path.fs  # its own library is imported here
        return cast(Path, path)
    except ImportError as error:
        raise InputError(f"{text} needs a library that is not installed: {error}") from None
    except ValueError as error:
        raise InputError(f"cannot read {text}: {error}; type a path, or a URL such as s3://bucket/name") from None


def is_url(path: Path) -> bool:
    """Whether a path is behind a URL and not in this machine's file system."""
    return not isinstance(path, Path)


def exists(path: Path) -> bool:
    """Whether there is anything at a path, be it a link to nothing. Raises InputError when a URL cannot be reached."""
    with _errors(path):
        return path.exists() if is_url(path) else os.path.lexists(path)


def resolved(path: Path) -> Path:
    """Where a path leads, absolute and with all links followed; where they lead in circles, as far as they go."""
    # Path.resolve raises RuntimeError for a circle before Python 3.13.
    return path.resolve() if is_url(path) else Path(os.path.realpath(path))


def is_dir(path: Path) -> bool:
    """Whether there is a folder at a path, or objects under it. Raises InputError when that cannot be found out."""
    with _errors(path):
        return path.is_dir()


def head(path: Path, size: int) -> bytes:
    """The first `size` bytes behind a URL. Raises InputError when there is no such object, or it cannot be had."""
    with _errors(path):
        return cast(bytes, _fs(path).cat_file(_key(path), start=0, end=size))


def walk(folder: Path, refused: Callable[[OSError], None]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """A folder and those in it, as os.walk gives them, whichever kind of path it is."""
    if is_url(folder):
        with _errors(folder):
            yield from cast(Any, folder).walk()
        return
    for place, folders, names in os.walk(folder, onerror=refused):
        yield Path(place), folders, names


def files_in(folder: Path) -> list[Path]:
    """What is in a folder and those in it, sorted, but for folders. InputError where one of them cannot be read:
    who measures on the others' pictures alone would not know it."""

    def refused(error: OSError) -> None:
        raise InputError(f"cannot read {error.filename}: {error.strerror or error}; check its permissions") from None

    return sorted(place / name for place, _, names in walk(folder, refused) for name in names)


class _Fetched:
    """Files of this process's own, by the URL that they came from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._users: dict[Path, int] = {}

    def take(self, path: Path) -> Path:
        with self._lock:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="srdeploy-")
            local = Path(self._folder.name) / _digest(path) / path.name
            if path not in self._users:
                local.parent.mkdir()
                try:
                    with _errors(path):
                        _fs(path).get_file(_key(path), str(local))
                except BaseException:
                    shutil.rmtree(local.parent)
                    raise
            self._users[path] = self._users.pop(path, 0) + 1
            return local

    def give_back(self, path: Path) -> None:
        with self._lock:
            self._users[path] -= 1
            idle = [path for path, users in self._users.items() if not users]
            for old in idle[: max(0, len(idle) - _KEPT)]:
                del self._users[old]
                shutil.rmtree(Path(self._folder.name if self._folder else "") / _digest(old), ignore_errors=True)


_fetched = _Fetched()


@contextmanager
def fetched(path: Path) -> Iterator[Path]:
    """The file at `path`, fetched if it is behind a URL. Raises InputError when it is not there or cannot be had."""
    if not is_url(path):
        yield path
        return
    local = _fetched.take(path)
    try:
        yield local
    finally:
        _fetched.give_back(path)


def local_place(path: Path) -> Path:
    """Where a result for `path` is made on this machine: one place for each URL, so that work can be gone on with."""
    if not is_url(path):
        return path
    place = cache_folder() / "urls" / _digest(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {place}: {error.strerror}; set $SRDEPLOY_CACHE to another") from None
    return place / path.name


def send(local: Path, path: Path) -> None:
    """Move a whole file to a URL; it appears there complete. Raises OutputError, and the file stays."""
    try:
        with _errors(path, sending=True):
            fs = _fs(path)
            if cast(Any, path).protocol in _OBJECT_STORES:
                fs.put_file(str(local), _key(path))
            else:
                fs.makedirs(_key(path.parent), exist_ok=True)
                part = atomic.part_path(path)
                fs.put_file(str(local), _key(part))
                fs.mv(_key(part), _key(path))
    except InputError as error:
        raise OutputError(f"{error}; what was made is kept as {local}") from None
    local.unlink()


def clear_place(path: Path) -> None:
    """Remove the place of a result on this machine, unless there is work in it to go on with."""
    if is_url(path):
        place = local_place(path).parent
        if not any(place.iterdir()):
            place.rmdir()


def _fs(path: Path) -> Any:
    return cast(Any, path).fs


def _key(path: Path) -> str:
    return str(cast(Any, path).path)


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


@contextmanager
def _errors(path: Path, sending: bool = False) -> Iterator[None]:
    """Whatever a remote file system raises as one line about the URL; those of this machine's stay what they are."""
    try:
        yield
    except SrdeployError:
        raise
    except Exception as error:
        if not is_url(path):
            raise
        if isinstance(error, FileNotFoundError) and not sending:
            raise InputError(f"there is no file {path}; type the path or URL of a picture or a video") from None
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot reach {path}: {text}; check the URL, the network and the credentials") from None
