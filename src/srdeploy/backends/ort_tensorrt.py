"""ONNX Runtime's TensorRT provider: a model file as it is, whose engine is built when it is opened, and kept.

No line here has been run on a GPU: none was at hand.
"""

from collections.abc import Set
from typing import Any

from srdeploy.backends.ort import COMPUTES, CPU, OrtSession
from srdeploy.backends.ort_devices import chosen, index_of, tensorrt_devices
from srdeploy.backends.ort_gpu import CUDA, TENSORRT, cuda_settings, tensorrt_settings
from srdeploy.backends.trt_build import BuildOptions
from srdeploy.spec import ModelSpec


class OrtTensorRtSession(OrtSession):
    """A model file on one GPU by ONNX Runtime's TensorRT provider; the first time, building takes minutes."""

    name = "ort-tensorrt"
    provider = TENSORRT

    def devices_used(self) -> Set[str]:
        """As OrtSession; what TensorRT left to another provider counts, when it computes the network itself."""
        used = set(super().devices_used())
        if not hasattr(self._session, "get_provider_graph_assignment_info"):
            return used
        for part in self._session.get_provider_graph_assignment_info():
            if part.ep_name not in (TENSORRT, CPU) and any(node.op_type in COMPUTES for node in part.get_nodes()):
                used.add(f"{part.ep_name} in place of TensorRT")
        return used

    def _device_for(self, asked: str) -> str:
        return chosen(asked, tensorrt_devices, self.name)

    def _providers(self, spec: ModelSpec, device: str) -> tuple[list[Any], bool]:
        options, index = BuildOptions(), index_of(device)
        self.largest = (options.most[1], options.most[0])
        settings = tensorrt_settings(index, spec, options)
        return [(TENSORRT, settings), (CUDA, cuda_settings(index, graphs=False))], False
