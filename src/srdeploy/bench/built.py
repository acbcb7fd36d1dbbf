"""Engines for a measurement, built from exported files on the machine that measures."""

from pathlib import Path

from srdeploy.backends.engine_file import write_engine
from srdeploy.backends.trt import devices
from srdeploy.backends.trt_build import BuildOptions, build_engine
from srdeploy.errors import DeviceError
from srdeploy.graph.files import load_model, read_spec
from srdeploy.graph.pixels import cast_at_the_end


def engine_for(path: Path, folder: Path, device: str, options: BuildOptions) -> Path:
    """The engine of an exported file, written into `folder`; a path of an engine is given back as it is.

    device: "auto", "cuda" or "cuda:N". Raises DeviceError or MissingExtra where no engine can be built, ModelError when
    TensorRT does not build it.
    """
    if path.suffix == ".engine":
        return path
    found = devices()
    wanted = found[0] if device in ("auto", "cuda") else device
    if wanted not in found:
        raise DeviceError(f"--device {device} cannot be had for an engine: found {', '.join(found)}; type one of these")
    model = load_model(path)
    graph = cast_at_the_end(model).SerializeToString(deterministic=True)
    engine, _ = build_engine(graph, read_spec(model, str(path)), options, found.index(wanted))
    target = folder / f"{path.stem}.engine"
    write_engine(target, engine)
    return target
