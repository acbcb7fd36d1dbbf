"""A report on disk: three files that appear together, each whole."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srdeploy.errors import InputError, OutputError
from srdeploy.report.markdown import markdown
from srdeploy.report.page import page


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write report.json (the truth) and what is drawn from it, report.md and report.html, to `folder`.

    Files of those names are replaced, by rename, when all three are made. Raises OutputError when it cannot be written.
    """
    texts = {
        "report.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "report.md": markdown(report),
        "report.html": page(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".srdeploy-report-", dir=folder) as inner:
            for name, text in texts.items():
                (Path(inner) / name).write_text(text, encoding="utf-8")
            for name in texts:
                (Path(inner) / name).replace(folder / name)
    except OSError as error:
        raise OutputError(f"cannot write the report to {folder}: {error.strerror or error}; type another -o") from None


def read_report(path: Path) -> dict[str, Any]:
    """A report.json, or the one in a folder. Raises InputError when it is none."""
    file = path / "report.json" if path.is_dir() else path
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        rows = report["rows"]
        if not isinstance(rows, list) or not all(isinstance(row["samples_ms"], list) for row in rows):
            raise TypeError("its rows carry no samples")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; give the report.json of an earlier bench") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is no report of srdeploy bench ({' '.join(str(error).split())[:100]}); give its report.json"
        ) from None
    return dict(report)
