"""ONNX graphs as data: the only door to `onnx`. Nothing here runs a graph; who needs that passes a function in."""
