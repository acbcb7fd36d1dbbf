"""Environments for scripts/demo and scripts/check: made once, in a folder of their own, with what each needs."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONSTRAINTS = REPOSITORY / "constraints.txt"


def prepare(folder: Path, extras: str, *, pinned: bool) -> Path:
    """Make (or reuse) a virtual environment with this checkout installed; return its folder of commands.

    pinned: install the versions that constraints.txt names. The environment is made again when what it was made
    from has changed.
    """
    if sys.version_info < (3, 11):  # noqa: UP036  (scripts run before anything checks the version)
        sys.exit(f"error: Python 3.11 or later is needed, and this is {sys.version.split()[0]}; install one")
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    stamp, wanted = folder / "made-from", _fingerprint(extras)
    if stamp.is_file() and stamp.read_text() == wanted:
        return commands
    sys.stderr.write(f"setting up {folder} (once) ...\n")
    try:
        venv.EnvBuilder(clear=True, with_pip=True).create(folder)
    except subprocess.CalledProcessError:
        sys.exit(
            "error: this Python cannot make virtual environments; on Debian or Ubuntu type: apt install python3-venv"
        )
    pip = [commands / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    if pinned:
        pip += ["-c", CONSTRAINTS]
    if subprocess.run([*pip, "-e", f"{REPOSITORY}[{extras}]"], check=False).returncode:
        sys.exit("error: pip could not install what is needed (see above); is there a way to a package index?")
    stamp.write_text(wanted)
    return commands


def _fingerprint(extras: str) -> str:
    parts = [
        (REPOSITORY / "pyproject.toml").read_bytes(),
        CONSTRAINTS.read_bytes(),
        extras.encode(),
        sys.version.encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
