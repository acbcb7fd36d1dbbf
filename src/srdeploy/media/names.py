"""Names that stand for many files: numbered pictures, as in frame_%05d.png."""

import hashlib
import re
from pathlib import Path

from srdeploy.errors import InputError
from srdeploy.media.kinds import VIDEO_SUFFIXES

RATE = 25
"""Pictures a second; their files do not say."""

_NUMBER = re.compile(r"%(?:0(\d))?d")


def is_sequence(path: Path) -> bool:
    """Whether a name stands for numbered pictures, and is not that of a file itself."""
    numbered = len(_NUMBER.findall(path.name)) == 1 and path.name.count("%") == 1
    return numbered and path.suffix.lower() not in VIDEO_SUFFIXES and not path.exists()


def files_of(path: Path) -> list[Path]:
    """The files of a sequence in the order of their numbers. Raises InputError when there is none, or a gap."""
    (width,) = _NUMBER.findall(path.name)
    before, after = (re.escape(part) for part in re.split(r"%0?\d?d", path.name))
    name = re.compile(f"{before}(\\d{{{width or 1},}}){after}")
    found = {}
    for file in path.parent.iterdir() if path.parent.is_dir() else ():
        match = name.fullmatch(file.name)
        if match and (not width or len(match[1]) == int(width) or match[1][0] != "0"):
            found[int(match[1])] = file
    if not found:
        raise InputError(f"there are no files {path}; type the name of numbered pictures as in frame_%05d.png")
    missing = sorted(set(range(min(found), max(found) + 1)) - set(found))
    if missing:
        raise InputError(f"{path}: number {missing[0]} is missing; make it, or number the pictures without a gap")
    return [found[number] for number in sorted(found)]


def number_of(path: Path, file: Path) -> int:
    """The number in the name of one file of the sequence."""
    before = path.name.index("%")
    after = len(re.split(r"%0?\d?d", path.name)[1])
    return int(file.name[before : len(file.name) - after])


def digest_of(files: list[Path]) -> str:
    """A hash over all names and sizes and the beginnings of the files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(4096))
    return digest.hexdigest()
