"""Pixel shuffles, unshuffles and orders of channels, written as reshapes and transpositions: one operator for each."""

from collections.abc import Callable
from typing import Any

import numpy as np

from srdeploy.extras import require
from srdeploy.graph.files import Model

Array = np.ndarray[Any, Any]
Shapes = list[dict[str, Array]]
"""The shape of every tensor, by name, at each of some sizes of picture."""

SHAPERS = frozenset(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Expand", "Tile"))
"""Operators that move or repeat samples and change none."""


def with_shuffles(model: Model, probe: Callable[[Model], tuple[Shapes, Any]]) -> Model:
    """Replace chains of reshapes and transpositions by DepthToSpace, SpaceToDepth, or a Gather of channels.

    What a chain does is not read from its form, of which there are many: numbered samples are sent through it and
    looked at. probe: gives the shapes of the tensors along such chains at some sizes; it is asked when there are any.
    """
    chains = _chains(model)
    if not chains:
        return model
    shapes, _ = probe(model)
    for chain in chains:
        for start in range(len(chain) - 1):
            nodes = _told(model, chain[start:], shapes)
            if nodes:
                _replace(model, chain[-1], nodes)
                break
    return model


def _chains(model: Model) -> list[list[Any]]:
    """Shapers in a row, each the maker of the next one's picture, as long as they go; at least two."""
    makers = {node.output[0]: node for node in model.graph.node if node.op_type in SHAPERS}
    ends = [
        *(name for node in model.graph.node if node.op_type not in SHAPERS for name in node.input),
        *(value.name for value in model.graph.output),
    ]
    chains = []
    for name in dict.fromkeys(ends):
        chain: list[Any] = []
        while name in makers:
            chain.insert(0, makers[name])
            name = makers[name].input[0]
        if len(chain) > 1:
            chains.append(chain)
    return chains


def _told(model: Model, chain: list[Any], shapes: Shapes) -> list[Any]:
    """The nodes that do what a chain does, or none."""
    source, last = chain[0].input[0], chain[-1]
    names = [source, *(node.output[0] for node in chain)]
    if not all(name in found for found in shapes for name in names):
        return []
    sizes = [[tuple(int(side) for side in found[name]) for name in names] for found in shapes]
    if not all(len(size[0]) == len(size[-1]) == 4 and 0 not in size[0] for size in sizes):
        return []
    sent = []
    for size in sizes:
        numbers = np.arange(int(np.prod(size[0]))).reshape(size[0])
        sent.append((numbers, _sent(chain, numbers, size)))
    (_, channels, height, width), (_, _, tall, wide) = sizes[0][0], sizes[0][-1]
    if (height, width) == (tall, wide):
        order = sent[0][1][0, :, 0, 0] // (height * width)
        told = all(np.array_equal(numbers[:, order], result) for numbers, result in sent)
        return _gathered(model, source, last.output[0], last.name, order) if told else []
    block = max(tall // height, height // tall)
    for mode in ("CRD", "DCR"):
        if all(_same(_up(numbers, block, mode), result) for numbers, result in sent):
            attributes = {"name": last.name, "blocksize": block, "mode": mode}
            return [require("onnx", "export").helper.make_node("DepthToSpace", [source], last.output, **attributes)]
        if all(_same(_down(numbers, block, mode), result) for numbers, result in sent):
            return _space_to_depth(model, source, last, block, mode, channels)
    return []


def _sent(chain: list[Any], numbers: Array, size: list[tuple[int, ...]]) -> Array:
    for node, shape in zip(chain, size[1:], strict=True):
        if node.op_type == "Transpose":
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            numbers = numbers.transpose(order)
        elif node.op_type == "Expand":
            numbers = np.broadcast_to(numbers, shape)
        elif node.op_type == "Tile":
            numbers = np.tile(numbers, [after // before for after, before in zip(shape, numbers.shape, strict=True)])
        else:
            numbers = numbers.reshape(shape)
    return numbers


def _same(moved: Array | None, result: Array) -> bool:
    return moved is not None and np.array_equal(moved, result)


def _up(numbers: Array, block: int, mode: str) -> Array | None:
    n, c, h, w = numbers.shape
    if block < 2 or c % (block * block):
        return None
    if mode == "CRD":
        parts = numbers.reshape(n, -1, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = numbers.reshape(n, block, block, -1, h, w).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, -1, h * block, w * block)


def _down(numbers: Array, block: int, mode: str) -> Array | None:
    n, c, h, w = numbers.shape
    if block < 2 or h % block or w % block:
        return None
    parts = numbers.reshape(n, c, h // block, block, w // block, block)
    order = (0, 1, 3, 5, 2, 4) if mode == "CRD" else (0, 3, 5, 1, 2, 4)
    return parts.transpose(order).reshape(n, -1, h // block, w // block)


def _space_to_depth(model: Model, source: str, last: Any, block: int, mode: str, channels: int) -> list[Any]:
    helper = require("onnx", "export").helper
    depth = last.output[0] if mode == "DCR" else f"{last.output[0]}_depth"
    nodes = [helper.make_node("SpaceToDepth", [source], [depth], name=f"{last.name}_depth", blocksize=block)]
    if mode == "DCR":
        return nodes
    # ONNX puts a pixel's place before its channel, torch the channel first.
    order = np.arange(channels * block * block).reshape(block * block, channels).T.reshape(-1)
    return nodes + _gathered(model, depth, last.output[0], last.name, order)


def _gathered(model: Model, source: str, output: str, name: str, order: Array) -> list[Any]:
    onnx = require("onnx", "export")
    held = f"{output}_order"
    model.graph.initializer.append(onnx.numpy_helper.from_array(order.astype(np.int64), held))
    return [onnx.helper.make_node("Gather", [source, held], [output], name=name, axis=1)]


def _replace(model: Model, old: Any, new: list[Any]) -> None:
    """Put nodes in the place of one; what fed it alone falls away when the graph is cleaned."""
    output = old.output[0]
    nodes = [copy for node in model.graph.node for copy in (new if node.output[0] == output else [node])]
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
