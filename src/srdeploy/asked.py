"""What was asked of the model: so that it can be opened here, or on other machines by the same words."""

from dataclasses import dataclass
from typing import Literal

from srdeploy import zoo
from srdeploy.fit import Fit
from srdeploy.sizes import Target
from srdeploy.spec import Precision
from srdeploy.upscale import Upscaler, open_upscaler
from srdeploy.upscale.tiles import TileChoice


@dataclass(frozen=True)
class Asked:
    """The options of `run` that choose a model and how it computes; see open_upscaler. to: the size, as typed."""

    model: str | None = None
    scale: int | None = None
    to: str | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    tile: TileChoice = "auto"
    overlap: int | None = None
    threads: int | None = None

    def open(self) -> Fit[Upscaler]:
        """The model at its scale, or with `to` the scales of its family among which each source chooses.

        What is wrong with the model, the device or the precision is raised now: ModelError, DeviceError, MissingExtra,
        and InputError for a size that is none.
        """
        size = None if self.to is None else Target.parse(self.to)
        members = {} if size is None or self.scale is not None else zoo.family(self.model)
        if members:
            fit = Fit(lambda scale: self._upscaler(members[scale], None), sorted(members), size)
            fit.largest()
            return fit
        upscaler = self._upscaler(self.model, self.scale)
        return Fit(lambda _: upscaler, (upscaler.scale,), size)

    def check(self) -> None:
        """Raise now what opening raises wherever it is: ModelError for a name that none has, InputError for `to`."""
        if self.to is not None:
            Target.parse(self.to)
        named = self.model is None or not zoo.is_path(self.model)
        if named and (self.to is None or self.scale is not None or not zoo.family(self.model)):
            zoo.resolve(self.model, self.scale)

    def _upscaler(self, model: str | None, scale: int | None) -> Upscaler:
        return open_upscaler(
            model,
            scale=scale,
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            tile=self.tile,
            overlap=self.overlap,
            threads=self.threads,
        )
