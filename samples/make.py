"""Renders every sample again: python samples/make.py  (needs numpy, opencv-python-headless 5 and av, all in the base).

The pictures' pixels are the same wherever OpenCV 5 draws the letters. The bytes of the files depend on the encoders'
versions, and the clip's differ a little from run to run, so SHA256SUMS is written anew with them.
"""

import hashlib
from pathlib import Path

import chart
import clip
import cv2
import numpy as np
import numpy.typing as npt
import scenes

HERE = Path(__file__).resolve().parent
PARITY = HERE.parent / "src" / "srdeploy" / "models" / "parity"

PICTURES = {
    HERE / "hills.png": (scenes.hills, 240, 320, 1),
    HERE / "facade.png": (scenes.facade, 243, 321, 2),
    HERE / "owl.png": (scenes.owl, 240, 320, 3),
    HERE / "chart.png": (chart.chart, 240, 320, 4),
    PARITY / "chart.png": (chart.chart, 97, 131, 11),
    PARITY / "facade.png": (scenes.facade, 120, 160, 12),
    PARITY / "owl.png": (scenes.owl, 120, 160, 13),
}
"""Every picture's painter, height, width and seed."""


def render(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels of one of PICTURES, uint8 RGB (H, W, 3)."""
    paint, height, width, seed = PICTURES[path]
    return paint(height, width, seed)


def main() -> None:
    """Write the pictures, the clip and the hashes."""
    PARITY.mkdir(parents=True, exist_ok=True)
    for path in PICTURES:
        done, data = cv2.imencode(".png", render(path)[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        if not done:
            raise SystemExit(f"OpenCV cannot encode {path.name}")
        path.write_bytes(data.tobytes())
    clip.write(HERE / "clip.mp4")
    made = [path.name for path in PICTURES if path.parent == HERE] + ["clip.mp4"]
    lines = [f"{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(made)]
    (HERE / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    main()
