"""The trained network as plain PyTorch runs it: what a person has before exporting anything, for comparison."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from srdeploy.errors import DeviceError
from srdeploy.learn.base import Bicubic
from srdeploy.learn.convert import quiet
from srdeploy.learn.weights import load_net
from srdeploy.picture import Pixels


def export_plainly(weights: Path, target: Path) -> None:
    """The network as anyone writes and exports it: torch's own bicubic, torch.onnx.export with its defaults, float
    (N, C, H, W) of any size."""
    net = load_net(weights).deployed().eval()
    for name, module in list(net.named_children()):
        if isinstance(module, Bicubic):
            scale = round((len(module.kernel) / module.channels) ** 0.5)
            if torch.equal(module.kernel, Bicubic(scale, module.channels, a=-0.75).kernel):  # the one torch has
                net.set_submodule(name, torch.nn.Upsample(scale_factor=scale, mode="bicubic", align_corners=False))
    free = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(net, (torch.zeros(2, net.channels, 31, 37),), dynamic_shapes=(free,), verbose=False)
    assert program is not None
    target.write_bytes(program.model_proto.SerializeToString())


def open_torch(
    weights: Path, threads: int, compiled: bool, device: str = "cpu", half: bool = False
) -> Callable[[Pixels], Pixels]:
    """A checkpoint as a function of pictures: uint8 (N, H, W, C) to uint8 (N, sH, sW, C), in float32 or float16.

    compiled: through torch.compile, which builds a kernel for the size that it first sees. device: "cpu", "cuda" or
    "cuda:N"; DeviceError when this PyTorch has no such device.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise DeviceError(
            f"PyTorch {torch.__version__} finds no CUDA for {device}; type: pip install torch, on a machine with a GPU"
        )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # fp32 is fp32, as elsewhere here
    kind = torch.float16 if half else torch.float32
    net = load_net(weights).deployed().eval().to(device, kind)
    step = torch.compile(net) if compiled else net

    def enlarge(pixels: Pixels) -> Pixels:
        torch.set_num_threads(threads)  # one number for all of torch, and each row has its own
        with torch.inference_mode():
            given = torch.from_numpy(pixels).to(device)
            planes = given.permute(0, 3, 1, 2).contiguous().to(kind).div_(255)
            big = step(planes).mul(255).round().clamp(0, 255).to(torch.uint8)
            return np.ascontiguousarray(big.permute(0, 2, 3, 1).cpu().numpy())

    return enlarge
