"""`run` needs neither torch nor onnx; the command answers quickly; the public names are these."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import srdeploy

PUBLIC = [
    "ColorTags",
    "Frame",
    "ModelSpec",
    "Picture",
    "SrdeployError",
    "Upscaler",
    "__version__",
    "open",
    "read_picture",
    "stream",
    "write_picture",
]

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocker())
from srdeploy.cli import main
main()
"""


def _run(arguments: list[str], blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    code = BLOCKED.format(blocked=set(blocked))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_public_names() -> None:
    assert srdeploy.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(srdeploy, name) is not None
        assert name in dir(srdeploy)


def test_no_module_hides_a_public_name() -> None:
    """Importing srdeploy.NAME, anywhere, would put the module in the place of what NAME is."""
    modules = {path.stem for path in Path(srdeploy.__file__).parent.iterdir()}
    assert not modules & set(PUBLIC)


def test_run_without_torch_and_onnx(samples: Path, tmp_path: Path) -> None:
    source = sorted(samples.rglob("*.png"))[0]
    done = _run(
        ["run", str(source), "-o", str(tmp_path / "big.png"), "--json"],
        (
            "torch",
            "onnx",
            "onnxscript",
            "av",
            "lightning",
            "safetensors",
            "matplotlib",
            "polygraphy",
            "PIL",
            "skimage",
            "scipy",
        ),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["frames"] == 1


def test_without_an_engine_the_extra_is_named(samples: Path, tmp_path: Path) -> None:
    source = sorted(samples.rglob("*.png"))[0]
    done = _run(["run", str(source), "-o", str(tmp_path / "big.png")], ("onnxruntime", "openvino"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "srdeploy[cpu]" in line


def test_eval_names_the_extra_only_where_a_network_is_needed(samples: Path) -> None:
    words = ["eval", "bicubic", "--data", str(samples), "--metrics"]
    blocked = ("torch", "torchvision", "torchmetrics", "torch_fidelity", "scipy", "skimage")
    assert _run([*words, "psnr_y,niqe"], blocked).returncode == 0
    for missing in (blocked, ("torch_fidelity",)):
        done = _run([*words, "psnr_y,dists"], missing)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and "srdeploy[eval]" in line


def test_export_without_torch_or_onnx_names_the_extra(tmp_path: Path) -> None:
    done = _run(["export", "-o", str(tmp_path)], ("onnx", "torch"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "srdeploy[" in line
    assert not list(tmp_path.iterdir())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['srdeploy', '--help']\nfrom srdeploy.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'cv2', 'av', 'onnx', 'onnxruntime', 'torch'} & set(sys.modules)\n"
        "sys.stderr.write(','.join(sorted(heavy)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert "run" in done.stdout


def test_help_is_not_slow() -> None:
    """A guard against a heavy import, far above what it takes (benchmarks/ has the time): best of five under 1.5 s."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "srdeploy", "--help"], capture_output=True, env={**os.environ}, check=True
        )
        times.append(time.perf_counter() - started)
    assert min(times) < 1.5
