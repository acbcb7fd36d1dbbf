"""Free memory by the machine, control groups of both versions, and the address space, on a made-up /proc and /sys."""

import subprocess
import sys
from pathlib import Path

import pytest

from srdeploy.upscale.memory import free_bytes, has_room, resident_bytes

MB = 1 << 20


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {8000 << 10} kB\n")
    return tmp_path


def group(root: Path, folder: str, names: tuple[str, str, str], limit: str, used: int, cache: int) -> None:
    place = root / "sys/fs/cgroup" / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / names[0]).write_text(f"{limit}\n")
    (place / names[1]).write_text(f"{used}\n")
    active = names[2].replace("inactive", "active")
    (place / "memory.stat").write_text(f"anon 1\n{names[2]} {cache - cache // 3}\n{active} {cache // 3}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def test_the_machine(root: Path) -> None:
    assert free_bytes(root=root) == 8000 * MB
    assert free_bytes(100 * MB, root) == 7900 * MB
    assert free_bytes(9000 * MB, root) == 0
    assert free_bytes(root=root / "nothing") is None


def test_what_can_be_had_at_all(root: Path) -> None:
    """Swap counts, for the machine and for a group; a system that says nothing is not in the way."""
    assert has_room(8000 * MB, root) and not has_room(8001 * MB, root)
    (root / "proc/self/cgroup").write_text("0::/box\n")
    group(root, "box", V2, str(700 * MB), 500 * MB, 50 * MB)
    assert has_room(250 * MB, root) and not has_room(251 * MB, root)
    with (root / "proc/meminfo").open("a") as file:
        file.write(f"SwapFree: {10 << 10} kB\n")
    assert has_room(260 * MB, root) and not has_room(261 * MB, root)
    assert has_room(1 << 60, root / "nothing")


@pytest.mark.parametrize("inner", ["box/job", ""])
def test_control_groups(root: Path, inner: str) -> None:
    """The least of all levels; a path that only the machine outside knows ends at the group that is seen."""
    (root / "proc/self/cgroup").write_text("0::/box/job\n")
    group(root, inner, V2, str(700 * MB), 500 * MB, 50 * MB)
    assert free_bytes(root=root) == 250 * MB
    group(root, "box", V2, str(600 * MB), 500 * MB, 0)
    assert free_bytes(root=root) == 100 * MB
    group(root, "box", V2, "max", 500 * MB, 0)
    assert free_bytes(root=root) == 250 * MB


def test_control_groups_of_version_1(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("9:name=systemd:/\n4:memory,hugetlb:/box\n0::/\n")
    group(root, "memory/box", V1, str(900 * MB), 500 * MB, 20 * MB)
    group(root, "memory", V1, str(9223372036854771712), 500 * MB, 0)
    assert free_bytes(root=root) == 420 * MB


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is counted by Linux")
def test_the_address_space() -> None:
    program = (
        "import resource\nfrom srdeploy.upscale.memory import free_bytes\n"
        "before = free_bytes()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, -1))\n"
        "print(before, free_bytes(), free_bytes(7 << 30))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, limited, reserved = map(int, done.stdout.split())
    assert limited < min(6 << 30, before + 1)
    assert limited > 1 << 30 and reserved in (0, limited)
    assert (resident_bytes() or 0) > 10 * MB
