"""From a trained network to an ONNX graph: torch ends here."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from srdeploy.errors import ModelError
from srdeploy.graph.files import OPSET, check, cleaned, parse_model
from srdeploy.graph.pixels import rename_border
from srdeploy.learn.base import Net


def onnx_from_net(net: Net) -> bytes:
    """The network as a float graph: "input" (batch, C, height, width) to "output", 0..1, all sizes but C free.

    The same weights give the same bytes, and nothing of the exporting machine is in them. Raises ModelError when a
    size is left to be computed in the graph, which would keep it from being tiled and slow it down.
    """
    example = torch.zeros(2, net.channels, 31, 37)
    free = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            net.deployed().eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=["input"],
            output_names=["output"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = rename_border(cleaned(parse_model(program.model_proto.SerializeToString(), "the exported network")))
    computed = sorted({node.op_type for node in model.graph.node} & {"Shape", "Reshape", "ConstantOfShape", "Expand"})
    if computed:
        raise ModelError(f"the exported network computes sizes in its graph ({', '.join(computed)})")
    check(model, "the exported network")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress and notes off the terminal; its errors are exceptions."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def run_net(net: Net, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The network's own result in torch, on the CPU: float32 (N, C, H, W), 0..1, to (N, C, sH, sW), not clipped."""
    # A copy into a fresh tensor: NumPy gives a side of length 1 strides that torch takes for another memory layout,
    # and then another convolution runs, whose sums differ in their last bits.
    picture = torch.empty(planes.shape)
    picture.copy_(torch.from_numpy(planes))
    with torch.inference_mode():
        result: npt.NDArray[np.float32] = net.eval()(picture).numpy()
    return result
