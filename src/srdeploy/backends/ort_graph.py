"""Any ONNX graph as a function of arrays, on ONNX Runtime's CPU provider: for proofs, searches and foreign files."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from srdeploy.backends.ended import ended_after
from srdeploy.backends.ort import failures, one_line, open_onnx, out_of_memory
from srdeploy.backends.ort_devices import onnxruntime
from srdeploy.errors import ModelError, NoSuchNetwork, OutOfMemory

Runner = Callable[[Mapping[str, np.ndarray[Any, Any]]], dict[str, np.ndarray[Any, Any]]]


def open_graph(model: bytes, threads: int | None = None, integers: bool = True, seconds: float | None = None) -> Runner:
    """Any ONNX model as a function from named arrays to named arrays, on the CPU.

    integers False: what stands between a Dequantize- and a QuantizeLinear is computed in float, which the CPU provider
    does several times faster than in integers where both factors are signed. seconds: what one run may take.
    The function may be called from several threads. Raises ModelError when the model does not load, and the function
    when it does not run, OutOfMemory, and NoSuchNetwork when it takes too long.
    """
    # One of many, when a graph is run node by node: each would hold on to the memory of its largest run.
    session = open_onnx(model, "the graph", "cpu", threads, keep_memory=False, integers=integers)
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        options = onnxruntime().RunOptions()
        try:
            with ended_after(seconds, options):
                return dict(zip(names, session.run(names, dict(feeds), options), strict=True))
        except failures() as error:
            if options.terminate:
                raise NoSuchNetwork(f"the graph ran for more than {seconds:g} seconds and was ended") from None
            if out_of_memory(error):
                raise OutOfMemory(f"the graph ran out of memory: {one_line(error)}") from None
            raise ModelError(f"the graph failed: {one_line(error)}") from None

    return run


def run_graph(
    model: bytes, feeds: Mapping[str, np.ndarray[Any, Any]], threads: int | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Run any ONNX model once on the CPU: arrays by input name in, by output name out."""
    return open_graph(model, threads)(feeds)
