"""NVIDIA's management library, asked directly: memory in use and energy spent by the first GPU. Never run on a GPU."""

import ctypes
import sys


class _Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def used_memory_mb() -> float | None:
    """MiB in use on the first GPU, by all programs; None without the library. (nvmlDeviceGetMemoryInfo)"""
    memory = _Memory()
    return round(memory.used / (1 << 20), 1) if _ask("nvmlDeviceGetMemoryInfo", ctypes.byref(memory)) else None


def energy_joules() -> float | None:
    """Energy that the first GPU has spent since its driver was loaded; None where it does not count.
    (nvmlDeviceGetTotalEnergyConsumption, millijoules; Volta and later)"""
    millijoules = ctypes.c_ulonglong(0)
    return millijoules.value / 1e3 if _ask("nvmlDeviceGetTotalEnergyConsumption", ctypes.byref(millijoules)) else None


def driver_version() -> str | None:
    """The driver's version, such as "580.65"; None without the library. (nvmlSystemGetDriverVersion)"""
    library = _library()
    text = ctypes.create_string_buffer(96)
    if library is None or library.nvmlSystemGetDriverVersion(text, len(text)) != 0:
        return None
    return text.value.decode(errors="replace")


def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


def _ask(function: str, answer: object) -> bool:
    """Call one of the library's questions about the first GPU; 0 is NVML_SUCCESS."""
    library, device = _library(), ctypes.c_void_p()
    if library is None or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)) != 0:
        return False
    return bool(getattr(library, function)(device, answer) == 0)
