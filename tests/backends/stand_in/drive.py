"""What a person with a GPU would type, on the stand-in; one JSON line of what came of each. Run by test_trt.py."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from srdeploy.cli.app import app


def typed(**words: list[str]) -> None:
    for name, given in words.items():
        result = CliRunner().invoke(app, given)
        answer: Any = json.loads(result.stdout) if result.stdout.startswith("{") else result.stdout
        error = repr(result.exception) if result.exception and not isinstance(result.exception, SystemExit) else ""
        line = {"code": result.exit_code, "answer": answer, "stderr": result.stderr, "error": error}
        sys.stdout.write(json.dumps({name: line}) + "\n")


def main() -> None:
    models, picture, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    export = ["export", "-o", str(out), "--tensorrt", "--json"]
    half, exact = str(models / "espcn-x2.fp16.onnx"), str(models / "srcnn-rgb-x4.fp32.onnx")
    engine = str(out / "espcn-x2.fp16.stand-in-9000.engine")
    run = ["run", picture, "--json", "--overwrite", "-m"]
    typed(info=["info", "--json"], first=[*export, half], again=[*export, half], exact=[*export, exact])
    typed(other_sizes=[*export, half, "--sizes", "32x32,64x64,300x400"])
    typed(floats=[*export, str(models / "espcn-x2.fp16.float.onnx")], facts=["info", engine, "--json"])
    typed(check=["check", engine, "--json"], bisected=["check", engine, "--bisect"])
    typed(against=["check", engine, "--json", "--against", str(models / "espcn-x3.fp32.onnx")])
    typed(run=[*run, engine, "-o", str(out / "engine.png"), "--tile", "96"])
    typed(ort=[*run, half, "-o", str(out / "ort.png"), "--backend", "ort"])
    typed(too_large=[*run, engine, "-o", str(out / "x.png"), "--tile", "none"])
    typed(wrong_backend=[*run, engine, "--backend", "ort"], no_engine=[*run, half, "--backend", "tensorrt"])
    os.environ["STAND_IN_GPU"] = "NVIDIA Other 1"
    typed(other_gpu=[*run, engine], checked_elsewhere=["check", engine])
    del os.environ["STAND_IN_GPU"]
    data = bytearray(Path(engine).read_bytes())
    data[-1] ^= 1
    Path(engine).write_bytes(data)
    typed(damaged=[*run, engine], damaged_check=["check", engine])
    Path(engine).write_bytes(data[:5000])
    typed(cut=[*run, engine])
    os.environ["STAND_IN_WIDENS"] = os.environ["SRDEPLOY_CACHE"] = str(out / "cache2")
    typed(widened=[*export, half, "-o", str(out / "widened")])
    typed(sizes=[*export, half, "--sizes", "64x64,32x32,16x16"])


main()
