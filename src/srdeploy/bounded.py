"""A bound on memory while something that somebody else wrote is read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_bounded(more: int) -> Iterator[None]:
    """Let this process take at most `more` bytes of address space beyond what it has, as long as this lasts.

    What asks for more then gets MemoryError, or RuntimeError from torch. A file may claim shapes of any size, and a
    network be built by them before a weight is read. Only Linux keeps such a bound for a running process; elsewhere
    this does nothing, and the checks of claimed sizes before it must do.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    wanted = pages * resource.getpagesize() + more
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
