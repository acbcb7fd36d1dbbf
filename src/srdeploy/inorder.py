"""Several at once, and their results in order."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """`map` by so many threads, that many items ahead of what is taken. Raises what `work` raises, in its place."""
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="in order")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def by_threads(work: Callable[[T], R], items: Sequence[T], count: int) -> Iterator[R]:
    """`in_order` for work whose taker has nothing else to do: without threads where they could not begin.

    A thread that finds no memory as it begins is waited for without end (threading.Thread.start), so none is begun
    where the address space is limited (ulimit -v).
    """
    alone = min(count, len(items)) <= 1 or _is_limited()
    yield from map(work, items) if alone else in_order(work, items, count)


def _is_limited() -> bool:
    if sys.platform == "win32":
        return False
    import resource  # Unix alone has it

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
