"""No test picture, nor a copy or crop of one, is in the training sets: perceptual hashes and correlation decide.

The middle of every test picture is searched in every training picture, and the reverse, in small; what looks alike is
looked at again in larger. A copy that was recompressed, brightened or cut is found as well as an equal one.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

cv2 = pytest.importorskip("cv2")

Gray = npt.NDArray[np.float32]

_ALIKE, _SAME = (24, 0.9), (64, 0.6)
"""Pixels a side at which middles are compared, and the correlation above which they are taken for one: first as they
are, then (two horizons are alike) what is left without their slow changes of brightness."""
_KEPT = 128
"""Pictures are reduced to this shorter side before anything is compared."""


def _gray(path: Path) -> Gray:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None, path
    reduction = min(1.0, _KEPT / min(picture.shape))
    small = cv2.resize(picture, None, fx=reduction, fy=reduction, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _hash(gray: Gray) -> npt.NDArray[np.bool_]:
    """Difference hash (Krawetz 2013), 16 x 16: whether each pixel is brighter than its right neighbour, in small."""
    small = cv2.resize(gray, (17, 16), interpolation=cv2.INTER_AREA)
    return (small[:, 1:] > small[:, :-1]).ravel()


def _is_inside(part: Gray, whole: Gray) -> bool:
    """Whether the middle of `part` is found somewhere in `whole`."""
    return _is_found(part, whole, *_ALIKE) and _is_found(_detail(part), _detail(whole), *_SAME)


def _detail(gray: Gray) -> Gray:
    return np.asarray(gray - cv2.GaussianBlur(gray, (0, 0), 3), np.float32)


def _is_found(part: Gray, whole: Gray, side: int, same: float) -> bool:
    reduction = side / (min(part.shape) / 2)
    small = cv2.resize(whole, None, fx=reduction, fy=reduction, interpolation=cv2.INTER_AREA)
    height, width = part.shape
    middle = part[height // 4 : height - height // 4, width // 4 : width - width // 4]
    middle = cv2.resize(np.ascontiguousarray(middle), None, fx=reduction, fy=reduction, interpolation=cv2.INTER_AREA)
    if small.shape[0] < middle.shape[0] or small.shape[1] < middle.shape[1]:
        return False
    return float(cv2.matchTemplate(small, middle, cv2.TM_CCOEFF_NORMED).max()) > same


def _leaks(training: dict[str, Gray], tests: dict[str, Gray]) -> list[str]:
    hashes = {name: _hash(gray) for name, gray in training.items()}
    found = []
    for name, test in tests.items():
        own, mirrored = _hash(test), _hash(np.ascontiguousarray(test[:, ::-1]))
        for other, gray in training.items():
            near = min(int((hashes[other] != h).sum()) for h in (own, mirrored)) < 40
            if near or _is_inside(test, gray) or _is_inside(gray, test):
                found.append(f"{name} and {other}")
    return found


def _pictures(folder: Path, names: list[str]) -> dict[str, Gray]:
    return {f"{n}/{p.name}": _gray(p) for n in names for p in sorted((folder / n).iterdir()) if p.suffix != ".txt"}


def test_no_test_picture_is_in_training(shared: Path) -> None:
    training = _pictures(shared / "data" / "train", ["t91", "general100", "bsds200", "cid22", "clic2025"])
    tests = _pictures(shared / "data" / "test", ["set5", "set14", "b100"])
    assert len(training) == 609 and len(tests) == 119
    assert _leaks(training, tests) == []


def test_copies_and_crops_are_found(samples: Path) -> None:
    owl, hills, facade = (_gray(samples / f"{name}.png") for name in ("owl", "hills", "facade"))
    assert _leaks({"hills": hills}, {"owl": owl, "facade": facade}) == []
    brighter = np.clip(owl * 0.8 + 30, 0, 255).astype(np.float32)
    assert _leaks({"brighter": brighter}, {"owl": owl})
    assert _leaks({"mirrored": np.ascontiguousarray(owl[:, ::-1])}, {"owl": owl})
    height, width = owl.shape
    crop = np.ascontiguousarray(owl[height // 5 : height - height // 6, width // 6 : width - width // 7])
    assert _leaks({"crop": crop}, {"owl": owl})
    assert _leaks({"whole": owl}, {"crop": crop})
