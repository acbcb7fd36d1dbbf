"""How much memory this process may still take: the machine's, its control group's, its address space's."""

import sys
from collections.abc import Iterator
from pathlib import Path

_PAGE = 4096
_UNLIMITED = 1 << 60
"""Control groups of version 1 say "no limit" with a number near 2**63."""


def free_bytes(reserved: int = 0, root: Path = Path("/")) -> int | None:
    """Bytes that may still be taken; None where the system says nothing (it is Linux that is asked).

    reserved: bytes that have an address already and no memory yet, such as a new array. root: where /proc and /sys are.
    """
    found = [free - reserved for free in (*_machine(root), *_groups(root))]
    found += _address_space(root)
    return max(0, min(found)) if found else None


def has_room(needed: int, root: Path = Path("/")) -> bool:
    """Whether so many bytes can be had at all, those on a swap device counted; a system that says nothing has them.

    To be asked before they are taken: Linux lends more than there is, and kills without a word who makes use of it.
    """
    free = free_bytes(root=root)
    return free is None or needed <= free + sum(_meminfo(root, "SwapFree"))


def resident_bytes(root: Path = Path("/")) -> int | None:
    """Memory that this process has now; None where the system does not say."""
    pages = _statm(root)
    return pages[1] * _PAGE if pages else None


def _machine(root: Path) -> Iterator[int]:
    yield from _meminfo(root, "MemAvailable")


def _meminfo(root: Path, name: str) -> Iterator[int]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            yield int(line.split()[1]) << 10


def _groups(root: Path) -> Iterator[int]:
    """What is left of each limit on the way from this process's control group up; page cache can be given back."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        if not kinds:
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "")
        elif "memory" in kinds.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        # In a container the path may name what only the machine outside sees; the base is then the group itself.
        inner = Path(path.lstrip("/"))
        for folder in (base / inner, *(base / parent for parent in inner.parents if inner.parts)):
            limit, used = (_text(folder / name).strip() for name in names[:2])
            if limit.isdecimal() and used.isdecimal() and int(limit) < _UNLIMITED:
                cache = (f"{names[2]}{kind}_file" for kind in ("inactive", "active"))
                yield int(limit) - int(used) + sum(_statistic(folder / "memory.stat", name) for name in cache)


def _statistic(path: Path, name: str) -> int:
    found = (line.split()[1] for line in _text(path).splitlines() if line.startswith(f"{name} "))
    return int(next(found, 0))


def _address_space(root: Path) -> list[int]:
    """What is left of RLIMIT_AS (ulimit -v)."""
    pages = _statm(root)
    if sys.platform == "win32" or not pages:
        return []
    import resource  # Unix alone has it

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return [] if limit == resource.RLIM_INFINITY else [limit - pages[0] * _PAGE]


def _statm(root: Path) -> list[int]:
    """Pages of this process: all that have an address, and those in memory."""
    return [int(word) for word in _text(root / "proc/self/statm").split()[:2]]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
