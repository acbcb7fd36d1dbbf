"""Files that appear under their name whole, or not at all: written beside it under a hidden name, then renamed."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from srdeploy.errors import OutputError


def part_path(path: Path) -> Path:
    """A hidden name beside `path`, unlike any other, with its suffix."""
    return path.with_name(f".{_stem(path)}.{secrets.token_hex(4)}.part{path.suffix}")


def remove_parts(path: Path) -> None:
    """Remove what a process that was killed had begun for `path`; nobody may be writing it."""
    part = re.compile(rf"\.{re.escape(_stem(path))}\.[0-9a-f]{{8}}\.part{re.escape(path.suffix)}")
    for found in path.parent.iterdir() if path.parent.is_dir() else ():
        if part.fullmatch(found.name):
            found.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    # A name may be 255 bytes; the stem gives way so that ours fits wherever the result's own does.
    return os.fsdecode(os.fsencode(path.stem)[:200])


@contextmanager
def atomic(path: Path, advice: str = "") -> Iterator[Path]:
    """Give the hidden name to write to; left without an error, it becomes `path`, which may have been there.

    Left with an error, nothing is left. Raises OutputError for what the system refuses; advice: what it ends with.
    """
    part = part_path(path)
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}{advice}") from None
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def result_folder(folder: Path) -> Iterator[None]:
    """Make a folder for a result; when there is none in the end, what was made and stayed empty is removed again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            with suppress(FileExistsError):  # another job may have removed it in between
                folder.mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            file = next((p for p in (folder, *folder.parents) if os.path.lexists(p) and not p.is_dir()), None)
            reason = error.strerror or error if file is None else f"{file} is no folder"
            raise OutputError(f"cannot make the folder {folder}: {reason}; type another -o") from None
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # not empty: others' results are in it
                path.rmdir()
        raise
