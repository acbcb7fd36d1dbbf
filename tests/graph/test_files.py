"""Files that are read with suspicion, and files that say nothing of the machine that wrote them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy.errors import ModelError, OutputError
from srdeploy.graph.files import OPSET, check, cleaned, load_model, read_spec, stamp_and_save
from srdeploy.spec import ModelSpec

onnx = pytest.importorskip("onnx")

SPEC = ModelSpec("small-x2", 2, 1, 2, 1, "fp32", "float", 372, 64, "0" * 64)


def test_saved_and_loaded(small: Any, tmp_path: Path) -> None:
    size = stamp_and_save(cleaned(small), SPEC, tmp_path / "small.onnx")
    model = load_model(tmp_path / "small.onnx")
    assert read_spec(model, "small.onnx") == SPEC
    assert size == (tmp_path / "small.onnx").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert model.ir_version <= 10 and model.opset_import[0].version == OPSET


def test_same_model_and_facts_give_the_same_bytes(small: Any, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        stamp_and_save(cleaned(small), SPEC, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_nothing_of_the_exporting_machine_is_left(small: Any, tmp_path: Path) -> None:
    secret = "/home/somebody/net.py"
    small.doc_string = small.producer_name = small.producer_version = small.domain = small.graph.name = secret
    small.graph.doc_string = secret
    small.metadata_props.add(key="path", value=secret)
    small.graph.metadata_props.add(key="path", value=secret)
    for part in (*small.graph.node, *small.graph.input, *small.graph.output, *small.graph.initializer):
        part.doc_string = secret
        part.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=secret)
    stamp_and_save(cleaned(small), SPEC, tmp_path / "small.onnx")
    assert b"somebody" not in (tmp_path / "small.onnx").read_bytes()


def test_what_is_not_used_is_dropped(small: Any) -> None:
    small.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(9, np.float32), "unused"))
    small.graph.node.append(onnx.helper.make_node("Relu", ["n0"], ["nowhere"]))
    small.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["b1"], value=small.graph.initializer[3]))
    del small.graph.initializer[3]
    model = cleaned(small)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Conv", "DepthToSpace"]
    assert sorted(tensor.name for tensor in model.graph.initializer) == ["b0", "b1", "w0", "w1"]


def _truncated(path: Path, model: Any) -> None:
    path.write_bytes(model.SerializeToString()[:-200])


def _external(path: Path, model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    path.write_bytes(model.SerializeToString())


def _claims_gigabytes(path: Path, model: Any) -> None:
    model.graph.initializer[0].dims[0] = 1 << 30
    path.write_bytes(model.SerializeToString())


def _unknown_operator(path: Path, model: Any) -> None:
    model.graph.node[1].op_type = "RunThisCommand"
    path.write_bytes(model.SerializeToString())


def _future_opset(path: Path, model: Any) -> None:
    model.opset_import[0].version = 9999
    path.write_bytes(model.SerializeToString())


def _holds_more(path: Path, model: Any) -> None:
    model.graph.initializer[0].raw_data += bytes(8)
    path.write_bytes(model.SerializeToString())


def _nested_functions(path: Path, model: Any) -> None:
    """Each of 40 functions calls the next twice: 2^40 nodes, if they are unfolded."""
    make, sets = onnx.helper.make_node, [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("me", 1)]
    for i in range(40):
        calls = [make(f"F{i + 1}", ["p"], ["r"], domain="me"), make(f"F{i + 1}", ["r"], ["q"], domain="me")]
        model.functions.append(onnx.helper.make_function("me", f"F{i}", ["p"], ["q"], calls, sets))
    last = [make("Identity", ["p"], ["q"])]
    model.functions.append(onnx.helper.make_function("me", "F40", ["p"], ["q"], last, sets))
    _calling(model, "F0")
    path.write_bytes(model.SerializeToString())


def _recursive_function(path: Path, model: Any) -> None:
    sets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("me", 1)]
    calls = [onnx.helper.make_node("Again", ["p"], ["q"], domain="me")]
    model.functions.append(onnx.helper.make_function("me", "Again", ["p"], ["q"], calls, sets))
    _calling(model, "Again")
    path.write_bytes(model.SerializeToString())


def _calling(model: Any, function: str) -> None:
    """Put a call of a function before the first node."""
    first = model.graph.node[0]
    call = onnx.helper.make_node(function, [first.input[0]], ["called"], domain="me")
    first.input[0] = "called"
    model.graph.node.insert(0, call)
    model.opset_import.append(onnx.helper.make_opsetid("me", 1))


BROKEN: dict[str, Callable[[Path, Any], None]] = {
    "empty": lambda path, model: path.write_bytes(b""),
    "text": lambda path, model: path.write_text("this is no model\n" * 50),
    "zeros": lambda path, model: path.write_bytes(bytes(1000)),
    "folder": lambda path, model: path.mkdir(),
    "truncated": _truncated,
    "external data": _external,
    "claims gigabytes": _claims_gigabytes,
    "holds more than it says": _holds_more,
    "unknown operator": _unknown_operator,
    "future opset": _future_opset,
    "functions without number": _nested_functions,
    "a function that calls itself": _recursive_function,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_refused_in_one_line(kind: str, small: Any, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    BROKEN[kind](path, small)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    if kind == "external data":
        assert "another file" in str(caught.value)


def test_every_cut_is_refused(small: Any, tmp_path: Path) -> None:
    data = small.SerializeToString()
    for end in range(1, len(data), 97):
        path = tmp_path / "cut.onnx"
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            load_model(path)


def test_a_folder_that_is_not_there(small: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        stamp_and_save(small, SPEC, tmp_path / "none" / "small.onnx")


def test_functions_are_unfolded(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnx, "inliner", raising=False)  # no other library has imported it
    monkeypatch.delitem(sys.modules, "onnx.inliner", raising=False)
    body = [onnx.helper.make_node("Neg", ["p"], ["n"]), onnx.helper.make_node("Neg", ["n"], ["q"])]
    sets = [onnx.helper.make_opsetid("", 18)]
    small.functions.append(onnx.helper.make_function("me", "Twice", ["p"], ["q"], body, sets))
    _calling(small, "Twice")
    check(small, "small")
    model = cleaned(small)
    assert [node.op_type for node in model.graph.node][:3] == ["Neg", "Neg", "Conv"]
    assert not model.functions


def test_operators_of_onnx_runtimes_own(small: Any) -> None:
    """No table says which IR version their sets need."""
    small.graph.node[1].op_type, small.graph.node[1].domain = "Gelu", "com.microsoft"
    small.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    model = cleaned(small)
    assert [entry.domain for entry in model.opset_import] == ["", "com.microsoft"]
    assert model.ir_version <= 10
