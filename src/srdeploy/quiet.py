"""Keeps C libraries that print on standard error from talking past our one line."""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

_LOCK = threading.RLock()
_CHATTER = re.compile(
    r"^(\[ ?(WARN|ERROR|INFO|DEBUG|FATAL):|libpng |PNG |Corrupt JPEG|Premature end|Warning: |_?TIFF|_tiff|JPEG|x264 |"
    r"Invalid SOS|Unsupported|Bogus|Unknown Adobe|Inconsistent|Application transferred|Quantization|Huffman|\s*>|$)"
)


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """What is written on standard error meanwhile gets there, and is not turned aside with what a thread captures.

    Else the last line before the process ends would be lost. A thread that hangs in a library is waited for a second.
    """
    ours = _LOCK.acquire(timeout=1)
    try:
        yield
        sys.stderr.flush()
    finally:
        if ours:
            _LOCK.release()


@contextlib.contextmanager
def captured_stderr(lines: list[str]) -> Iterator[None]:
    """Collect into `lines` what libpng, libjpeg, libtiff and OpenCV print meanwhile; the rest is passed on after.

    They write to file descriptor 2 itself, so it is turned aside for the whole process; one caller at a time.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
        except (OSError, ValueError, AttributeError):  # there is no standard error to protect
            yield
            return
        stack.callback(os.close, saved)
        sink = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            sink.seek(0)
            text = sink.read().decode("utf-8", "replace")
            lines += [line for line in text.splitlines() if _CHATTER.match(line)]
            rest = "".join(line for line in text.splitlines(keepends=True) if not _CHATTER.match(line))
            if rest:
                os.write(2, rest.encode("utf-8", "replace"))
