"""Fixtures shared by all tests: where the big data lies, and pictures and clips that need none of it."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def samples(repository: Path) -> Path:
    return repository / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and clips beside the repository; a test that needs it skips without it."""
    folder = Path(os.environ.get("SRDEPLOY_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real pictures and clips are not at {folder}; set SRDEPLOY_SHARED to their folder")
    return folder
