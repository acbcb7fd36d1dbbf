"""The calls into NVIDIA's management library, against a library of that name that we build: spelling, not truth."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from srdeploy.backends import nvml

SOURCE = """
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)7; return index != 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory *m) { m->used = 3ull << 20; return device != (void *)7; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    *mj = 2500;
    return device != (void *)7;
}
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, "580.65", length); return 0; }
"""


def test_what_the_library_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "nvml.c").write_text(SOURCE)
    library = tmp_path / "nvml.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True)
    load = ctypes.CDLL
    monkeypatch.setattr(nvml.ctypes, "CDLL", lambda name: load(str(library)))
    assert (nvml.used_memory_mb(), nvml.energy_joules(), nvml.driver_version()) == (3.0, 2.5, "580.65")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(nvml.ctypes, "CDLL", missing)
    assert (nvml.used_memory_mb(), nvml.energy_joules(), nvml.driver_version()) == (None, None, None)
