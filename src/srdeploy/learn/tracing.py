"""From somebody else's network to an ONNX graph, by running it once and noting what it does."""

import contextlib
import copy
import io
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from srdeploy.errors import ModelError
from srdeploy.graph.files import OPSET
from srdeploy.learn.convert import quiet
from srdeploy.learn.foreign import ForeignNet
from srdeploy.learn.states import FAILURES


def onnx_from_foreign(net: ForeignNet, height: int, width: int, free: bool) -> bytes:
    """The network as a float graph: "input" (batch, C, H, W) to "output", traced at (height, width).

    free: batch, height and width stay free and the graph computes what depends on them; whether it does so rightly is
    for the caller to prove at other sizes, since a trace keeps the branches that it saw. Otherwise (1, C, height,
    width) is the only shape. torch.export refuses most networks that look at their sizes; this exporter takes them.
    Raises ModelError when the network cannot be traced.
    """
    example = torch.zeros(1, net.channels, height, width)
    sides = {0: "batch", 2: "height", 3: "width"}
    target: Any = io.BytesIO()
    traced = copy.deepcopy(net)  # some networks change themselves when they first run (SPAN sums its branches)
    try:
        with quiet(), _fixed_pools(), torch.no_grad():
            traced(example)
            torch.onnx.export(
                traced,
                (example,),
                target,
                dynamo=False,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": sides, "output": {axis: f"out_{name}" for axis, name in sides.items()}}
                if free
                else None,
                opset_version=OPSET,
            )
    except (*FAILURES, torch.onnx.OnnxExporterError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ModelError(f"{net.architecture} does not convert to ONNX: {reason}") from None
    data: bytes = target.getvalue()
    return data


@contextlib.contextmanager
def _fixed_pools() -> Iterator[None]:
    """Let pooling to a size that divides the picture's be pooling by a kernel, which a graph of any size can hold."""
    kept: Any = functional.adaptive_max_pool2d

    def pool(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        height, width = (int(side) for side in output_size)
        down, across = int(x.shape[-2]) // height, int(x.shape[-1]) // width
        if return_indices or (down * height, across * width) != tuple(map(int, x.shape[-2:])) or height * width == 1:
            return kept(x, output_size, return_indices)
        return functional.max_pool2d(x, (down, across))

    with (
        patch.object(functional, "adaptive_max_pool2d", pool),
        patch.object(torch._C, "_jit_onnx_log", lambda *words: None),  # or what does not convert is printed whole
    ):
        yield
