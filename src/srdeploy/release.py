"""Release recipes: what ships of each model; the files in export/ are their instances."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srdeploy.errors import ModelError
from srdeploy.parity import file_hash


@dataclass(frozen=True)
class ReleaseRecipe:
    """What ships of one model. weights is relative to the recipe's folder."""

    name: str
    weights: str
    weights_sha256: str
    precisions: tuple[Literal["fp32", "fp16", "int8"], ...]
    float_files: bool = True
    calibration: str | None = None
    """The folder, in the one that --calibrate names, of the pictures that int8 is fitted to."""

    def weights_beside(self, recipe: str) -> str:
        """Path of the weights that the recipe of this path names, if they are the very bytes that it means.

        Raises ModelError when they are others.
        """
        weights = Path(recipe).parent / self.weights
        found = file_hash(weights)
        if found != self.weights_sha256:
            raise ModelError(f"{recipe} means weights of SHA-256 {self.weights_sha256}, and {weights} has {found}")
        return str(weights)

    def calibration_in(self, folder: Path | None, recipe: str) -> Path | None:
        """The folder to calibrate on, in the one that --calibrate named. Raises ModelError for int8 without one."""
        if "int8" not in self.precisions:
            return folder
        if self.calibration is None:
            raise ModelError(f'{recipe} lists int8 and not what it is fitted to; add: calibration = "FOLDER"')
        if folder is None:
            raise ModelError(f"{recipe} fits int8 to {self.calibration}; type --calibrate and the folder that holds it")
        return folder / self.calibration
