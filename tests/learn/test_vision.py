"""torchvision beside a torch that its operators do not fit."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")


def test_training_can_be_imported_whatever_torchvision_is_there() -> None:
    code = "from srdeploy.learn import require_training; require_training(); import srdeploy.learn.training"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
