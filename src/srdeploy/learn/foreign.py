"""Anybody's network by its weights alone: the only door to `spandrel`, which tells architectures by their tensors."""

import warnings
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from srdeploy.bounded import memory_bounded
from srdeploy.errors import MissingExtra, ModelError
from srdeploy.extras import require
from srdeploy.learn.base import Net
from srdeploy.learn.states import FAILURES, read_state
from srdeploy.learn.vision import mend_torchvision
from srdeploy.learn.weights import is_ours, load_net

_SPARE = 2 << 30
"""Bytes of memory that building a network may take beyond several times its file."""


class ForeignNet(Net):
    """A one-picture network that spandrel built: float (N, C, H, W), 0..1, to (N, C, scale*H, scale*W), not clipped.

    architecture: spandrel's name for it. multiple, minimum: what the sides of its input must be a multiple of, and at
    least. square: whether both sides must be equal.
    """

    def __init__(
        self,
        model: nn.Module,
        call: Callable[[nn.Module, Tensor], Tensor],
        scale: int,
        channels: int,
        architecture: str,
        multiple: int = 1,
        minimum: int = 1,
        square: bool = False,
    ) -> None:
        super().__init__(scale, channels)
        self.model = model
        self.call = call
        self.architecture = architecture
        self.multiple = multiple
        self.minimum = max(1, minimum)
        self.square = square

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, scale*H, scale*W)."""
        return self.call(self.model, x)


def open_net(path: Path) -> Net:
    """The network of any checkpoint: one of ours, by the name that it carries, or anybody's, by its tensors."""
    if path.suffix.lower() == ".safetensors" and is_ours(path):
        return load_net(path)
    return load_foreign(path)


def load_foreign(path: Path) -> ForeignNet:
    """Build the network that a .pth, .pt, .ckpt or .safetensors holds the weights of, in evaluation mode, on the CPU.

    Nothing in the file is executed. Raises ModelError, in one line, for a file that is no checkpoint (see read_state),
    an architecture that spandrel does not know, and a network that does not take one picture and give one; MissingExtra
    without spandrel.
    """
    state = read_state(path)
    mend_torchvision()
    try:
        spandrel = require("spandrel", "spandrel")
    except ModuleNotFoundError as error:  # there, but installed without what it imports
        raise MissingExtra(
            f"spandrel imports {error.name}, which is not installed; type: pip install 'srdeploy[spandrel]'"
        ) from None
    try:
        with memory_bounded(16 * path.stat().st_size + _SPARE), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = spandrel.MAIN_REGISTRY.load(state)
    except spandrel.UnsupportedModelError:
        raise ModelError(
            f"{path} is of no architecture that spandrel {spandrel.__version__} knows; export it to .onnx where it "
            "was trained, and type: srdeploy export that.onnx"
        ) from None
    except FAILURES as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ModelError(f"{path} does not hold the weights of one network: {reason}") from None
    name = found.architecture.name
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise ModelError(
            f"{path} is {name}, which takes a picture and a mask; srdeploy exports networks of one picture"
        )
    channels = found.input_channels
    if channels not in (1, 3) or channels != found.output_channels:
        raise ModelError(
            f"{path} is {name} of {channels} channels in and {found.output_channels} out; srdeploy knows 1 and 3, "
            "the same on both sides"
        )
    needs = found.size_requirements
    call = found._call_fn  # its public call clips and pads, which a graph would carry along
    net = ForeignNet(found.model, call, found.scale, channels, name, needs.multiple_of, needs.minimum, needs.square)
    return net.float().eval()
