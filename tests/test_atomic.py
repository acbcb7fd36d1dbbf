"""A file appears under its name whole, or not at all."""

from pathlib import Path

import pytest

from srdeploy.atomic import atomic
from srdeploy.errors import OutputError


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / f"{'a' * 250}.txt"  # a name of 254 bytes: ours must fit too
    with atomic(path) as part:
        part.write_text("new")
        assert part.parent == tmp_path and part.name.startswith(".") and part.suffix == ".txt"
        assert not path.exists()
    assert [(found, found.read_text()) for found in tmp_path.iterdir()] == [(path, "new")]
    with pytest.raises(KeyError), atomic(path) as part:
        part.write_text("newer")
        raise KeyError
    with (
        pytest.raises(OutputError, match=r"cannot write .*No space left.*; type another -o$"),
        atomic(path, "; type another -o") as part,
    ):
        part.write_text("ne")
        raise OSError(28, "No space left on device")
    assert [(found, found.read_text()) for found in tmp_path.iterdir()] == [(path, "new")]
