"""The networks of an earlier report, measured again beside those that took their places.

A machine that is shared is another one an hour later: by several percent, and not by as much for each network. What two
networks took in turns, in one run, tells a difference of one percent. So a report keeps the files that it measured, and
a later one that is compared with it opens them.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srdeploy import zoo
from srdeploy.bench.subjects import Subject, open_row
from srdeploy.errors import ModelError, OutputError
from srdeploy.parity import file_hash
from srdeploy.report.against import counterparts

NETWORKS = "networks"
"""A report's folder of the files that it measured and that do not ship, NETWORKS/SHA256.onnx."""


@dataclass(frozen=True)
class Earlier:
    """A report to compare with, and the folder that it lies in."""

    report: Mapping[str, Any]
    folder: Path


def earlier_network(
    subject: Subject, sha256: str | None, alone: bool, earlier: Earlier, folder: Path
) -> Subject | None:
    """The network that an earlier report has for an opened row, opened too, if that was another file.

    None too for peers, and for engines, of which each build is another file. sha256: of the row's file. alone: it is
    the only row. folder: where results of whole files may be written. Raises SrdeployError or OSError when that file
    cannot be had any more.
    """
    olds = counterparts(subject.facts, earlier.report, alone)
    known = olds[0].get("model_sha256") if olds else None
    if known is None or known == sha256 or _network(subject) is None:
        return None
    path = _found(olds[0], known, earlier.folder)
    precision = "bf16" if subject.facts["precision"].startswith("bf16") else "auto"  # else the file's own
    return open_row(replace(subject.row, model=str(path), precision=precision), folder)


def keep_networks(subjects: Mapping[str, Subject], folder: Path) -> None:
    """Copy measured networks, by their SHA-256, into a report's folder, but for those that ship or changed meanwhile.

    Raises OutputError when that cannot be done.
    """
    for sha256, subject in subjects.items():
        path, target = _network(subject), folder / NETWORKS / f"{sha256}.onnx"
        if path is None or path.parent == zoo.MODELS or target.exists() or file_hash(path) != sha256:
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".part")
            shutil.copyfile(path, partial)
            partial.replace(target)
        except OSError as error:
            raise OutputError(f"cannot keep {path} in {folder}: {error.strerror or error}; type another -o") from None


def _network(subject: Subject) -> Path | None:
    path = None if subject.row.peer else subject.path
    return path if path is not None and path.suffix == ".onnx" else None


def _found(old: Mapping[str, Any], sha256: str, folder: Path) -> Path:
    path = folder / NETWORKS / f"{sha256}.onnx"
    if not path.is_file():
        path = zoo.find(old["model"], precision=old["precision"].split(" ")[0])
    if file_hash(path) != sha256:
        raise ModelError(f"{path.name} is another file now")
    return path
