"""Whether ONNX Runtime finds the CUDA that it was built for; asked before a session would silently do without.

That the name of a missing library comes out was seen with onnxruntime-gpu on a machine without CUDA, and that a GPU is
found on one with it (docs/gpu.md).
"""

import contextlib
import ctypes
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

from srdeploy.backends.gpus import driver_cuda

_FIX = "type: pip install --upgrade 'srdeploy[gpu]', or --device cpu"

_TENSORRT = re.compile(r"nvinfer|nvonnxparser")


def preload(ort: Any) -> None:
    """Load CUDA and cuDNN from the nvidia-* wheels where they are; what is missing comes out later, in one line."""
    # TensorRT takes TF32 for fp32 unless it is told; NVIDIA's libraries read this when they are loaded.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(AttributeError):
        ort.preload_dlls()  # since 1.21


def why_not(ort: Any, provider: str = "cuda") -> str | None:
    """Why ONNX Runtime's "cuda" or "tensorrt" provider cannot be loaded, and what to type; None when it can."""
    needs, has = str(getattr(ort, "cuda_version", "") or ""), driver_cuda()
    if needs and has and int(needs.split(".")[0]) > has[0]:
        return (
            f"the NVIDIA driver is for CUDA {has[0]}.{has[1]} and onnxruntime-gpu {ort.__version__} needs CUDA "
            f"{needs}; update the driver, or type: --device cpu"
        )
    preload(ort)
    try:
        if provider == "tensorrt":
            _load_tensorrt()
        _load(Path(ort.__file__).parent / "capi", provider)
    except OSError as error:
        found = re.match(r"(\S+\.(?:so|dll)\S*?):? ", str(error))
        library = found[1] if found else str(error).split("\n")[0]
        version = re.search(r"\.so\.(\d+)", library)
        if version and _TENSORRT.search(library):
            return (
                f"onnxruntime-gpu {ort.__version__} does not find {library}, of TensorRT {version[1]}; type: "
                f"pip install 'tensorrt=={version[1]}.*', or --backend ort"
            )
        return (
            f"onnxruntime-gpu {ort.__version__} needs CUDA {needs or 'and cuDNN'} and does not find {library}; {_FIX}"
        )
    return None


def _load_tensorrt() -> None:
    """Load TensorRT's libraries from its wheel where it is; what is missing comes out later."""
    for folder in (Path(part) / "tensorrt_libs" for part in sys.path):
        for path in sorted(folder.glob("*nvinfer.so.*")) + sorted(folder.glob("*nvonnxparser.so.*")):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _load(folder: Path, provider: str) -> None:
    """Load the provider as ONNX Runtime would; OSError names the library that is not found."""
    prefix, suffix = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")
    ctypes.CDLL(str(folder / f"{prefix}onnxruntime_providers_shared{suffix}"), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(folder / f"{prefix}onnxruntime_providers_{provider}{suffix}"))
