"""Too little memory, said in one line whoever noticed it: Python, NumPy, OpenCV, FFmpeg or the system."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from srdeploy.errors import OutOfMemory, SrdeployError

_OPENCV_NO_MEMORY = -4
"""cv2.Error.StsNoMem; OpenCV's door is not here."""

_WORDS = ("can't start new thread", "cannot allocate memory", "failed to map segment", "bad allocation", "bad_alloc")
"""A thread needs a stack, and a library its pages; Python and the system's loader have no class of error for either."""


def is_shortage(error: BaseException) -> bool:
    """Whether an exception of any library says that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return (
        isinstance(error, MemoryError | OutOfMemory)
        or getattr(error, "code", None) == _OPENCV_NO_MEMORY
        or (isinstance(error, RuntimeError | ImportError) and any(word in str(error).lower() for word in _WORDS))
    )


def too_little(doing: str) -> OutOfMemory:
    """The error itself. doing: "to write a.png"."""
    return OutOfMemory(
        f"there is not enough memory {doing}; close other programs, raise the limit (ulimit -v), or cut the picture"
    )


@contextmanager
def shortage_said(doing: str) -> Iterator[None]:
    """Raise OutOfMemory where what is done inside raises anything that means it; SrdeployErrors pass."""
    try:
        yield
    except SrdeployError:
        raise
    except Exception as error:
        if not is_shortage(error):
            raise
        raise too_little(doing) from None
