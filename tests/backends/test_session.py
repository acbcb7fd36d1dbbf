"""Opening and running: what was asked for, or one line that says why not."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from srdeploy import tiling
from srdeploy.backends import Session, available, gpus, open_session, ort, ort_devices
from srdeploy.errors import DeviceError, MissingExtra, ModelError

ModelFile = Callable[..., Path]


def picture(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    pixels = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    return pixels if dtype is np.uint8 else pixels.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("channels", [1, 3])
def test_uint8_and_float_files_agree(channels: int, model_file: ModelFile) -> None:
    pixels = picture(2, 19, 23, channels)
    session = open_session(model_file(channels))
    assert (session.backend, session.device, session.arithmetic) == ("ort", "cpu", "fp32")
    assert (session.spec.scale, session.spec.channels, session.spec.halo) == (2, channels, 3)
    result = session.run(pixels)
    floats = open_session(model_file(channels, "float")).run(pixels.astype(np.float32) / np.float32(255))
    assert result.shape == floats.shape == (2, 38, 46, channels)
    assert (result.dtype, floats.dtype) == (np.uint8, np.float32)
    assert np.array_equal(result, np.rint(np.clip(floats * np.float32(255), 0, 255)))


@pytest.mark.parametrize("tile", [64, 100, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiled_equals_whole_bit_for_bit(channels: int, tile: int, model_file: ModelFile) -> None:
    session = open_session(model_file(channels, "float"), threads=1)
    pixels = picture(1, 301, 413, channels, dtype=np.float32)
    scale, halo = session.spec.scale, session.spec.halo
    assert halo is not None
    tiled = np.zeros((1, 602, 826, channels), np.float32)
    for box in tiling.plan(301, 413, tile, halo):
        rows, columns = box.rows, box.columns
        result = session.run(pixels[:, rows.read : rows.read + rows.size, columns.read : columns.read + columns.size])
        y, x = (rows.keep - rows.read) * scale, (columns.keep - columns.read) * scale
        kept = result[:, y : y + (rows.keep_end - rows.keep) * scale, x : x + (columns.keep_end - columns.keep) * scale]
        tiled[:, rows.keep * scale : rows.keep_end * scale, columns.keep * scale : columns.keep_end * scale] = kept
    assert np.array_equal(tiled, session.run(pixels))


def test_half_files_say_what_a_cpu_makes_of_them(model_file: ModelFile) -> None:
    session = open_session(model_file(precision="fp16"))
    assert session.spec.precision == "fp16"
    assert session.arithmetic == "fp16 weights, fp32 arithmetic"
    assert session.run(picture(1, 8, 8, 1)).shape == (1, 16, 16, 1)


@pytest.mark.parametrize(
    "pixels",
    [picture(1, 8, 8, 3), picture(8, 8, 1), picture(1, 8, 8, 1, dtype=np.float32), picture(1, 0, 8, 1)],
    ids=["channels", "rank", "dtype", "empty"],
)
def test_other_arrays_are_refused(pixels: np.ndarray, model_file: ModelFile) -> None:
    with pytest.raises(ModelError, match="takes uint8 pixels of shape"):
        open_session(model_file()).run(pixels)


def test_views_and_read_only_arrays_are_taken(model_file: ModelFile) -> None:
    session = open_session(model_file())
    pixels = picture(1, 40, 40, 1)
    part = pixels[:, 3:20, 5:30]
    part.flags.writeable = False
    assert np.array_equal(session.run(part), session.run(part.copy()))


def test_several_threads_may_call_one_session(model_file: ModelFile) -> None:
    session = open_session(model_file())
    pictures = [picture(1, 30 + i, 40, 1) for i in range(4)]
    expected = [session.run(pixels) for pixels in pictures]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(5):
            if not np.array_equal(session.run(pictures[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("content", [b"", b"this is text\n" * 99, bytes(500)], ids=["empty", "text", "zeros"])
def test_broken_files_are_one_line(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        open_session(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_every_cut_of_a_file_is_refused(model_file: ModelFile, capfd: pytest.CaptureFixture[str]) -> None:
    path = model_file()
    data = path.read_bytes()
    for end in range(1, len(data), 211):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            open_session(path)
    assert capfd.readouterr() == ("", "")


def test_weights_outside_the_file_are_not_fetched(model_file: ModelFile) -> None:
    onnx = pytest.importorskip("onnx")
    path = model_file()
    (path.parent / "outside.bin").write_bytes(bytes(4096))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(path.parent / "outside.bin"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError):
        open_session(path)


def test_a_missing_file_and_an_unstamped_one(model_file: ModelFile, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        open_session(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="srdeploy export"):
        open_session(model_file(stamped=False))


@pytest.mark.parametrize("backend", ["tensorrt", "coreml"])
def test_engines_that_are_not_there(backend: str, model_file: ModelFile) -> None:
    with pytest.raises(DeviceError, match="ort"):
        open_session(model_file(), backend=backend)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_devices_that_are_none(device: str, model_file: ModelFile) -> None:
    with pytest.raises(DeviceError, match="type one of"):
        open_session(model_file(), device=device)


def test_cuda_without_a_gpu_is_an_error(model_file: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_devices, "nvidia_gpus", list)
    with pytest.raises(DeviceError, match=r"--device cuda cannot be had: found no NVIDIA GPU.*type: --device cpu"):
        open_session(model_file(), device="cuda")
    assert open_session(model_file(), device="auto").device == "cpu"


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_that_does_not_load_is_an_error(model_file: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU build whose CUDA libraries are missing drops the provider silently: that must be seen."""
    monkeypatch.setattr(ort, "choose_device", lambda asked: "cuda:0")
    with pytest.raises(DeviceError, match="cuda:0"):
        open_session(model_file(), device="cuda")


def test_a_gpu_number_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_devices, "cuda_devices", lambda: ["cuda:0"])
    assert ort_devices.choose_device("auto") == ort_devices.choose_device("cuda") == "cuda:0"
    with pytest.raises(DeviceError, match="found cuda:0"):
        ort_devices.choose_device("cuda:3")


class _GpuWheel:
    """What onnxruntime-gpu shows of itself, where nothing of CUDA is installed."""

    __version__, __file__, cuda_version = "1.31.1", "/nowhere/onnxruntime/__init__.py", "13.0"
    InferenceSession = object

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self) -> None:
        print("Failed to load libcublasLt.so.13")  # noqa: T201


@pytest.mark.parametrize(
    ("driver", "error", "said"),
    [
        ((12, 4), "", r"driver is for CUDA 12\.4 and onnxruntime-gpu 1\.31\.1 needs CUDA 13\.0; update the driver"),
        (
            (13, 0),
            "libcublasLt.so.13: cannot open shared object file: No such file or directory",
            r"found a GPU, but .* needs CUDA 13\.0 and does not find libcublasLt\.so\.13; type: pip install",
        ),
        (None, "libcudnn.so.9: cannot open shared object file", r"does not find libcudnn\.so\.9; type"),
    ],
)
def test_cuda_that_is_missing_is_named(
    driver: tuple[int, int] | None,
    error: str,
    said: str,
    model_file: ModelFile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(folder: Path, provider: str) -> None:
        raise OSError(error)

    monkeypatch.setattr(ort_devices, "onnxruntime", _GpuWheel)
    monkeypatch.setattr(ort_devices, "nvidia_gpus", lambda: ["a GPU"])
    monkeypatch.setattr(ort_devices.ort_cuda, "driver_cuda", lambda: driver)
    monkeypatch.setattr(ort_devices.ort_cuda, "_load", fail)
    with pytest.raises(DeviceError, match=said):
        open_session(model_file(), "ort", "cuda")
    row = next(row for row in available() if row["name"] == "ort cuda")
    assert not row["available"] and "type: " in row["why_not"]
    assert capsys.readouterr().out == ""


def test_tensorrt_that_is_missing_is_named(model_file: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library and its version, which must be the one that onnxruntime-gpu was built for."""

    def fail(folder: Path, provider: str) -> None:
        assert (folder, provider) == (Path("/nowhere/onnxruntime/capi"), "tensorrt")
        raise OSError("libnvinfer.so.10: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ort_devices, "onnxruntime", _GpuWheel)
    monkeypatch.setattr(ort_devices, "nvidia_gpus", lambda: ["a GPU"])
    monkeypatch.setattr(ort_devices.ort_cuda, "driver_cuda", lambda: (13, 0))
    monkeypatch.setattr(ort_devices.ort_cuda, "_load", fail)
    said = r"does not find libnvinfer\.so\.10, of TensorRT 10; type: pip install 'tensorrt==10\.\*'"
    for device, asked in (("auto", "--backend ort-tensorrt"), ("cuda:0", "--device cuda:0")):
        with pytest.raises(DeviceError, match=f"{asked} cannot be had: .*{said}"):
            open_session(model_file(), "ort-tensorrt", device)
    with pytest.raises(DeviceError, match="--device cpu cannot be had"):
        open_session(model_file(), "ort-tensorrt", "cpu")
    on_cpu = SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])
    for found, wheel in (([], _GpuWheel()), (["a GPU"], on_cpu)):
        monkeypatch.setattr(ort_devices, "nvidia_gpus", lambda found=found: found)
        monkeypatch.setattr(ort_devices, "onnxruntime", lambda wheel=wheel: wheel)
        with pytest.raises(DeviceError, match=r"found .*; type: --backend ort") as caught:
            open_session(model_file(), "ort-tensorrt", "auto")
        assert "--device cpu" not in str(caught.value), "no CPU runs TensorRT"


class _Node(NamedTuple):
    op_type: str


class _Part(NamedTuple):
    ep_name: str
    kinds: tuple[str, ...]

    def get_nodes(self) -> list[_Node]:
        return [_Node(kind) for kind in self.kinds]


class _Opened:
    """A session of onnxruntime-gpu, as far as opening one looks at it."""

    def __init__(self, first: str, *parts: _Part) -> None:
        self.first, self.parts = first, parts

    def get_providers(self) -> list[str]:
        return [self.first, "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[_Part]:
        return list(self.parts)

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="input")]

    get_outputs = get_inputs


TRT, CUDA, CPU = (f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU"))


@pytest.mark.parametrize(
    ("backend", "parts", "said"),
    [
        ("ort", [_Part(CUDA, ("Conv",)), _Part(CPU, ("Shape",))], None),
        ("ort", [_Part(CUDA, ("Conv",)), _Part(CPU, ("Conv",))], "on cpu and cuda:0"),
        ("ort-tensorrt", [_Part(TRT, ("Conv",)), _Part(CUDA, ("Cast",))], None),
        ("ort-tensorrt", [_Part(TRT, ("Conv",)), _Part(CUDA, ("Conv",))], "CUDAExecutionProvider in place of TensorRT"),
        ("ort-tensorrt", [_Part(CPU, ("Conv",))], "on cpu; type"),
    ],
)
def test_what_really_computes_is_asked(
    backend: str, parts: list[_Part], said: str | None, model_file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _Opened(TRT if backend == "ort-tensorrt" else CUDA, *parts)
    monkeypatch.setattr(ort_devices, "nvidia_gpus", lambda: ["a GPU"])
    monkeypatch.setattr(ort_devices, "_gpu_devices", lambda provider, library: ["cuda:0"])
    monkeypatch.setattr(ort, "open_onnx", lambda *words, **options: opened)
    if said is None:
        session = open_session(model_file(), backend, "cuda")
        assert (session.backend, session.device, session.at_once) == (backend, "cuda:0", 3)
    else:
        with pytest.raises(DeviceError, match=said):
            open_session(model_file(), backend, "cuda")


def test_a_network_that_no_graph_can_hold_runs_without(model_file: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def opens(*words: Any, gpu: list[Any]) -> Any:
        asked.append(gpu[0][1]["enable_cuda_graph"])
        if asked[-1] == "1":
            raise DeviceError("This session cannot use the graph capture feature as requested by the user")
        return _Opened(CUDA, _Part(CUDA, ("Conv",)))

    monkeypatch.setattr(ort_devices, "_gpu_devices", lambda provider, library: ["cuda:0"])
    monkeypatch.setattr(ort, "open_onnx", opens)
    assert open_session(model_file(), "ort", "cuda").device == "cuda:0"
    assert asked == ["1", "0"]


def test_two_wheels_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_devices, "_installed", lambda name: name in ("onnxruntime", "onnxruntime-gpu"))
    with pytest.raises(DeviceError, match=r"both installed.*pip uninstall"):
        ort_devices.onnxruntime()
    monkeypatch.setattr(ort_devices, "_installed", lambda name: False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"srdeploy\[cpu\].*srdeploy\[gpu\]"):
        ort_devices.onnxruntime()


def test_available_says_why_not() -> None:
    rows = {row["name"]: row for row in available()}
    assert list(rows) == ["ort cpu", "ort cuda", "ort tensorrt", "openvino", "tensorrt"]
    assert rows["ort cpu"] == {"name": "ort cpu", "available": True, "why_not": None, "devices": ["cpu"]}
    for row in rows.values():
        assert row["available"] == (row["why_not"] is None) == bool(row["devices"])
        assert row["available"] or "type: " in row["why_not"]
    assert rows["ort cuda"]["available"] is False or gpus.nvidia_gpus()


def test_a_session_is_the_seam() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Session(None, Path(), "ort", "cpu", "fp32")  # type: ignore[abstract, arg-type]


def test_neither_onnx_nor_torch_is_imported_to_run(model_file: ModelFile) -> None:
    program = (
        "import sys, pathlib, numpy as np\n"
        "sys.modules.update(dict.fromkeys(('onnx', 'torch', 'onnxscript', 'polygraphy')))\n"
        "from srdeploy.backends import open_session\n"
        "session = open_session(pathlib.Path(sys.argv[1]))\n"
        "print(session.run(np.zeros((1, 5, 6, 1), np.uint8)).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(model_file())], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("(1, 10, 12, 1)\n", "", 0)
