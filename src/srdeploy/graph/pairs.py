"""Which node of one graph does what a node of another does."""

from difflib import SequenceMatcher
from typing import Any

_MOVES = ("Cast", "QuantizeLinear", "DequantizeLinear", "Identity")
"""What a change of precision inserts; compared where a layer takes it, never with a node of the reference."""

BORDER = "pixels_"
"""How the names of nodes begin that wrap_pixels adds."""


def paired(reference: list[Any], candidate: list[Any]) -> dict[int, int]:
    """By index of the reference's node, the index of the candidate's that does the same."""
    names = {(node.op_type, node.name) for node in reference} & {(node.op_type, node.name) for node in candidate}
    # Of the fewer: an fp32 file does some convolutions row by row, in several nodes.
    least = min(sum(map(_computes, nodes)) for nodes in (reference, candidate))
    by_name = 2 * sum(_computes(node) and (node.op_type, node.name) in names for node in reference) >= least
    same_border = _border_of(reference) == _border_of(candidate)

    def keys(nodes: list[Any]) -> list[object]:
        found: list[object] = []
        for node in nodes:
            of_border = node.name.startswith(BORDER)
            same = same_border if of_border else node.op_type not in _MOVES
            if by_name or of_border:
                same = same and (node.op_type, node.name) in names
            found.append(((node.op_type, node.name) if by_name or of_border else node.op_type) if same else object())
        return found

    blocks = SequenceMatcher(None, keys(reference), keys(candidate), autojunk=False).get_matching_blocks()
    return {block.a + i: block.b + i for block in blocks for i in range(block.size)}


def _computes(node: Any) -> bool:
    return not node.name.startswith(BORDER) and node.op_type not in _MOVES


def _border_of(nodes: list[Any]) -> list[tuple[str, str]]:
    return [(node.op_type, node.name) for node in nodes if node.name.startswith(BORDER)]
