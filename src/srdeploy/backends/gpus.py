"""Which NVIDIA GPUs this machine has, asked of the driver itself: no CUDA toolkit and no session is needed."""

import ctypes
import sys


def nvidia_gpus() -> list[str]:
    """Names of the GPUs that the NVIDIA driver shows, in CUDA's order; empty without a driver or without a GPU.

    Follows the CUDA driver API: cuInit, cuDeviceGetCount, cuDeviceGetName; 0 is CUDA_SUCCESS.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    names = []
    for index in range(count.value):
        name = ctypes.create_string_buffer(256)
        known = driver.cuDeviceGetName(name, len(name), index) == 0
        names.append(name.value.decode(errors="replace") if known else f"GPU {index}")
    return names


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the NVIDIA driver serves, such as (13, 0) (cuDriverGetVersion); None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int(0)
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    return number.value // 1000, number.value % 1000 // 10
