"""Read ONNX files with suspicion; write ours whole, stamped, and with nothing of the exporting machine in them."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from srdeploy.atomic import atomic
from srdeploy.errors import ModelError
from srdeploy.extras import require
from srdeploy.spec import METADATA_KEY, ModelSpec, spec_from_metadata

OPSET = 18
"""Operator set of every file we write, with IR version 8: ONNX Runtime 1.14 and later know it, TensorRT 10 and OpenVINO
2024 too; tests/test_versions.py runs what ships in ONNX Runtime 1.20 and in the installed one."""

MAX_BYTES = 1 << 31
"""A protobuf message ends at 2 GiB, and so does a model in one file."""

_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "com.microsoft"))
"""Sets of operators that a file may import: ONNX's, and those of ONNX Runtime that it has everywhere."""

_MOST_NODES, _DEEPEST = 100_000, 64
"""What functions may unfold to, and how deep they may call each other."""

Model = Any
"""onnx.ModelProto; named here because `onnx` is imported only inside functions."""


def load_model(path: Path) -> Model:
    """Read one self-contained ONNX model and check it, shapes and types included.

    Raises ModelError, in one line, for a file that is missing, empty, cut, not ONNX, too large, that keeps weights in
    other files, or that the ONNX checker refuses. Nothing is executed and no other file is opened.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise ModelError(f"{path} is no file; type the path of an .onnx file")
    try:
        if path.stat().st_size >= MAX_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size} bytes; a model in one file has less than 2 GiB")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise ModelError(f"{path} is empty; type the path of an .onnx file")
    return parse_model(data, str(path))


def parse_model(data: bytes, path: str) -> Model:
    """The model that `data` holds, checked as `load_model` does; `path` is for the messages."""
    onnx = require("onnx", "export")

    try:
        model = onnx.load_model_from_string(data)
    except require("google.protobuf.message", "export").DecodeError:
        raise ModelError(f"{path} is damaged or not an ONNX model (it does not parse as one)") from None
    if not model.HasField("graph") or not model.graph.node:
        raise ModelError(f"{path} is damaged or not an ONNX model (it holds no graph)")
    outside = next((t.name for t in tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL), None)
    if outside is not None:
        raise ModelError(
            f"{path} keeps weights ({outside}) in another file; save it as one file first: "
            'type: python -c "import onnx, sys; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])" IN.onnx OUT.onnx'
        )
    check(model, path)
    for tensor in tensors(model):  # the checker lets pass what holds more values than its sides say
        try:
            onnx.numpy_helper.to_array(tensor)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path} is not a valid ONNX model: its tensor {tensor.name[:60]!r}: {reason}") from None
    return model


def check(model: Model, path: str) -> None:
    """Run the ONNX checker with strict shape inference; ModelError with its first line when it refuses."""
    onnx = require("onnx", "export")
    known = _DOMAINS | {function.domain for function in model.functions}
    strange = next((node.domain for node in nodes_of(model.graph) if node.domain not in known), None)
    if strange is not None:
        raise ModelError(f"{path} uses operators of its own ({strange[:60]!r}); srdeploy exports networks of ONNX's")
    _check_functions(model, path)
    newest = onnx.defs.onnx_opset_version()
    asked = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if not 1 <= asked <= newest:  # the checker itself lets versions pass that it does not know
        raise ModelError(f"{path} needs operator set {asked}; the installed onnx knows 1 to {newest}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} is not a valid ONNX model: {reason}") from None


def _check_functions(model: Model, path: str) -> None:
    """Refuse functions that call functions until their nodes are without number: the checker would follow each."""
    sizes: dict[tuple[str, str], int] = {}
    bodies = {(function.domain, function.name): function for function in model.functions}

    def unfolded(graph: Any, above: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes_of(graph):
            key = node.domain, node.op_type
            if key in above or len(above) > _DEEPEST:
                raise ModelError(f"{path} has functions that call themselves or each other without end")
            if key in bodies and key not in sizes:
                sizes[key] = unfolded(bodies[key], (*above, key))
            total += sizes.get(key, 1)
        return total

    if model.functions and (count := unfolded(model.graph, ())) > _MOST_NODES:
        raise ModelError(f"{path} has functions that unfold to {count:.2g} nodes; srdeploy takes {_MOST_NODES}")


def at_our_opset(model: Model, path: str) -> Model:
    """The same model in operator set OPSET when it is in an older one; ModelError when it cannot be brought there."""
    onnx = require("onnx", "export")
    found = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if found >= OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} is in operator set {found} and does not convert to {OPSET}: {reason}") from None
    check(converted, path)
    return converted


def read_spec(model: Model, path: str) -> ModelSpec:
    """The facts stamped into a model; ModelError as spec_from_metadata."""
    return spec_from_metadata({entry.key: entry.value for entry in model.metadata_props}, path)


def is_stamped(model: Model) -> bool:
    """Whether srdeploy exported it."""
    return any(entry.key == METADATA_KEY for entry in model.metadata_props)


def nodes_of(graph: Any) -> Iterator[Any]:
    """Every node of a graph, and of the graphs in its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def rename_values(nodes: Iterable[Any], names: Mapping[str, str]) -> None:
    """Give the values that nodes take and make other names, in the graphs inside them too."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                rename_values(inner.node, names)
                for value in inner.output:
                    value.name = names.get(value.name, value.name)


def tensors(model: Model) -> Iterator[Any]:
    """Every tensor of a model: initializers and attributes, in subgraphs and functions too."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(graph)


def cleaned(model: Model) -> Model:
    """A copy with only what is computed: local functions inlined, Constant nodes made initializers, nodes and weights
    that nothing uses dropped, and every name of the producer, doc string and metadata gone.

    Node names are made unique; the IR version is the oldest that the operator set allows.
    """
    onnx = require("onnx", "export")
    source = model
    if model.functions:
        source = require("onnx.inliner", "export").inline_local_functions(model)
    graph = onnx.GraphProto(name="srdeploy")
    _copy_values(source.graph.input, graph.input)
    _copy_values(source.graph.output, graph.output)
    _copy_used(source.graph, graph)
    result = onnx.ModelProto(graph=graph, producer_name="srdeploy")
    result.opset_import.extend(entry for entry in source.opset_import if entry.domain in _domains(graph))
    ours = [entry for entry in result.opset_import if entry.domain in ("", "ai.onnx")]  # of others no table says
    result.ir_version = onnx.helper.find_min_ir_version_for(ours)
    return result


def _domains(graph: Any) -> set[str]:
    return {""} | {"" if node.domain == "ai.onnx" else node.domain for node in graph.node}


def _copy_values(source: Any, target: Any) -> None:
    for value in source:
        copy = target.add()
        copy.name = value.name
        copy.type.CopyFrom(value.type)


def _copy_used(source: Any, target: Any) -> None:
    onnx = require("onnx", "export")
    used = {output.name for output in source.output}
    kept = []
    for node in reversed(source.node):
        if used.intersection(node.output):
            used.update(node.input)
            used.update(outer_names(node))
            kept.append(node)
    names: set[str] = set()
    taken = {node.name for node in kept}
    for index, node in enumerate(reversed(kept)):
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            tensor = target.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            continue
        copy = target.node.add()
        copy.CopyFrom(node)
        copy.doc_string = ""
        del copy.metadata_props[:]
        if not copy.name or copy.name in names:
            copy.name = next(name for name in _numbered(f"{copy.op_type}_{index}") if name not in taken)
            taken.add(copy.name)
        names.add(copy.name)
    for tensor in source.initializer:
        if tensor.name in used:
            # Through numpy: one encoding (raw bytes), whatever the producer chose.
            target.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    inputs = {tensor.name for tensor in target.initializer}
    for value in [value for value in target.input if value.name in inputs]:
        target.input.remove(value)  # before IR 4, weights were listed as inputs too


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in count(2))


def outer_names(node: Any) -> set[str]:
    """Names that a node's subgraphs may take from around it."""
    graphs = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    return {name for graph in graphs for inner in graph.node for name in (*inner.input, *outer_names(inner))}


def stamp_and_save(model: Model, spec: ModelSpec, path: Path) -> int:
    """Write `model` with `spec` stamped into it, whole by rename; give its size in bytes.

    The same model and facts give the same bytes. Raises ModelError when the checker refuses the model, OutputError
    when the file cannot be written.
    """
    onnx = require("onnx", "export")
    stamped = onnx.ModelProto()
    stamped.CopyFrom(model)
    kept = [entry for entry in model.metadata_props if entry.key.startswith(f"{METADATA_KEY}.")]
    del stamped.metadata_props[:]
    stamped.metadata_props.extend(kept)
    stamped.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    check(stamped, path.name)
    data: bytes = stamped.SerializeToString(deterministic=True)
    with atomic(path) as part:
        part.write_bytes(data)
    return len(data)


def border(model: Model, path: str) -> tuple[Any, Any]:
    """The one input and the one output of a model (onnx.ValueInfoProto); ModelError when it has other than one."""
    inputs, outputs = model.graph.input, model.graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a super-resolution network has one of each"
        )
    return inputs[0], outputs[0]


def shape_of(value: Any) -> tuple[int | None, ...]:
    """Dimensions of a value, None where they are free or unknown."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)
