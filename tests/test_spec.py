"""The facts in a file: written and read back the same; foreign or broken ones refused with a reason."""

import json
from dataclasses import asdict, replace

import pytest

from srdeploy.errors import ModelError
from srdeploy.spec import METADATA_KEY, ModelSpec, Parity, PixelForm, spec_from_metadata

PARITY = Parity("net.safetensors", 1e-7, 120.0, {"0": 1.0, "1": 0.0, ">1": 0.0}, {"max_abs": 1e-5}, True)
SPEC = ModelSpec("net-x4", 4, 1, 4, 1, "fp32", "uint8", 25_000, 400, "ab" * 32, "net-x4.safetensors", PARITY)


def test_written_and_read_back() -> None:
    assert spec_from_metadata({METADATA_KEY: SPEC.to_json()}, "f.onnx") == SPEC


def test_rare_facts_are_said_only_where_they_are_so() -> None:
    rare = replace(SPEC, minimum=16, size=(64, 96), reference_pixels=PixelForm(high=255.0, bgr=True, layout="NHWC"))
    assert spec_from_metadata({METADATA_KEY: rare.to_json()}, "f.onnx") == rare
    assert not {"minimum", "size", "reference_pixels"} & set(json.loads(SPEC.to_json()))
    assert str(rare.reference_pixels) == "0..255 BGR NHWC in, 0..1 RGB NHWC out"


def test_same_facts_same_bytes() -> None:
    reordered = ModelSpec(**dict(reversed(list(asdict(SPEC).items())))).with_parity(PARITY)
    assert reordered.to_json() == SPEC.to_json()


def test_facts_of_a_later_version_are_passed_over() -> None:
    facts = {**json.loads(SPEC.to_json()), "invented_later": 1}
    assert spec_from_metadata({METADATA_KEY: json.dumps(facts)}, "f.onnx") == SPEC


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '"x"',
        json.dumps({**json.loads(SPEC.to_json()), "scale": 0}),
        json.dumps({**json.loads(SPEC.to_json()), "scale": "4"}),
        json.dumps({**json.loads(SPEC.to_json()), "scale": 1 << 30}),
        json.dumps({**json.loads(SPEC.to_json()), "multiple": 1 << 30}),
        json.dumps({**json.loads(SPEC.to_json()), "minimum": 1 << 30}),
        json.dumps({**json.loads(SPEC.to_json()), "size": [1 << 30, 8]}),
        json.dumps({**json.loads(SPEC.to_json()), "size": 8}),
        json.dumps({**json.loads(SPEC.to_json()), "reference_pixels": 8}),
        json.dumps({**json.loads(SPEC.to_json()), "channels": 2}),
        json.dumps({**json.loads(SPEC.to_json()), "halo": -1}),
        json.dumps({**json.loads(SPEC.to_json()), "precision": "fp8"}),
        json.dumps({**json.loads(SPEC.to_json()), "parity": {"max_abs": 1}}),
        json.dumps({**json.loads(SPEC.to_json()), "parity": 3}),
        json.dumps({**json.loads(SPEC.to_json()), "parity": {**asdict(PARITY), "psnr_db": "much"}}),
        json.dumps({**json.loads(SPEC.to_json()), "name": "../../elsewhere"}),
        json.dumps({**json.loads(SPEC.to_json()), "name": "C:\\elsewhere"}),
        json.dumps({**json.loads(SPEC.to_json()), "name": "two\nlines"}),
        json.dumps({**json.loads(SPEC.to_json()), "name": "x" * 1000}),
        json.dumps({**json.loads(SPEC.to_json()), "name": ""}),
        json.dumps({**json.loads(SPEC.to_json()), "name": 7}),
        "[" * 100_000,
    ],
)
def test_broken_facts_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ModelError, match=r"f\.onnx") as caught:
        spec_from_metadata({METADATA_KEY: text}, "f.onnx")
    assert "\n" not in str(caught.value)


def test_a_foreign_file_is_told_to_export() -> None:
    with pytest.raises(ModelError, match=r"srdeploy export f\.onnx"):
        spec_from_metadata({}, "f.onnx")
