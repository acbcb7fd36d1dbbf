"""Anybody's network becomes our float graph: what its file does not say is found out by running it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from srdeploy.backends.ort_graph import open_graph, run_graph
from srdeploy.bounded import memory_bounded
from srdeploy.errors import ModelError, NoSuchNetwork, OutOfMemory
from srdeploy.graph.constants import with_constants_folded
from srdeploy.graph.facts import Facts, facts_of
from srdeploy.graph.files import Model, at_our_opset, border, is_stamped, load_model, parse_model
from srdeploy.graph.forms import check_form, in_our_form, takes_levels, widened, without_identities
from srdeploy.graph.pixels import rename_border
from srdeploy.graph.sizes import with_constant_sizes
from srdeploy.probe import MULTIPLES, form_of, scale_and_multiple
from srdeploy.spec import PixelForm

if TYPE_CHECKING:
    from srdeploy.learn.foreign import ForeignNet

Planes = npt.NDArray[np.float32]
Network = Callable[[Planes], Planes]

FIXED_SIDE = 128
"""Side, in pixels, at which a network is exported that takes one size only, unless another is asked for."""

CLOSE = 5e-5
"""What two runs of one network may differ by, relative to its largest value (or to 1); one that kept a size by
mistake differs by more."""

_SPARE = 4 << 30
"""Bytes of memory that running somebody else's graph on small pictures may take beyond several times its file."""


_SECONDS = 60.0
"""What running somebody else's graph once on a small picture may take."""


@dataclass(frozen=True)
class Adopted:
    """A float NCHW graph, 0..1, and what was found out of it.

    multiple: of the sides. size: the one (height, width) that it takes, or None. form: how the file
    itself takes pixels. notes: what the person should know.
    """

    graph: Model
    facts: Facts
    multiple: int
    minimum: int
    size: tuple[int, int] | None
    form: PixelForm | None
    notes: list[str]


def adopt_net(net: "ForeignNet", path: Path, size: tuple[int, int] | None = None) -> Adopted:
    """Convert a network that spandrel built: for any size when that proves right at several, else for one.

    size: export for this (height, width) alone. Raises ModelError when it converts for no size, or not for that one.
    """
    from srdeploy.learn.convert import run_net

    notes: list[str] = []

    def network(planes: Planes) -> Planes:
        return run_net(net, planes)

    if size is None:
        try:
            found = _free(net, path, network)
        except ModelError as error:
            size = _fixed_size(net)
            notes.append(
                f"{path.name} ({net.architecture}) is exported for {_text(size)} pixels, larger pictures are cut into "
                f"such tiles; for another size type --size HxW ({error})"
            )
        else:
            return found
    _check_size(net, size)
    graph = _read(net, size, free=False)
    feed = _noise(net.channels, size)
    if not np.isfinite(network(feed["input"])).all():
        raise ModelError(f"{path} ({net.architecture}) gives values that are not finite; its weights are not sound")
    if not _agree(network, graph, feed):
        raise ModelError(f"{path} ({net.architecture}) does not convert: its graph gives other values than the network")
    graph = _simplified(graph, [feed])
    facts = facts_of(graph, str(path), net.scale)
    multiple = int(np.lcm(net.multiple, facts.multiple))
    return Adopted(graph, facts, multiple, 1, size, None, notes + not_tileable(path.name, facts))


def adopt_onnx(path: Path) -> Adopted:
    """Read somebody else's .onnx and find out by running it what it does not say, on the pictures that ship.

    Raises ModelError, in one line, for a file that is damaged, stamped already, or no network of one picture that
    enlarges by a whole number.
    """
    model = load_model(path)
    if is_stamped(model):
        raise ModelError(f"{path} is an exported file already; type the source it was made from")
    model = at_our_opset(widened(model), str(path))
    channels, layout, size = check_form(model, str(path))
    levels = takes_levels(model)
    theirs = _runner(model, levels, 8 * path.stat().st_size + _SPARE)
    scale, multiple = scale_and_multiple(theirs, channels, layout, size, str(path))
    form, told = form_of(theirs, channels, layout, size, scale, multiple, levels)
    graph = _in_our_form(model, form, channels, multiple, size)
    sides = [size] if size else [(64 + multiple * 2, 64 + multiple * 4), (64 + multiple * 5, 64 + multiple)]
    sides = [(_up(h, multiple), _up(w, multiple)) for h, w in sides]
    graph = without_identities(_simplified(graph, [_noise(channels, found) for found in sides]))
    facts = facts_of(graph, str(path), scale)
    notes = not_tileable(path.name, facts)
    if form != PixelForm(layout=layout):
        notes.append(f"{path.name} takes and gives pixels as {form}, found by running it on pictures")
    elif not told:
        notes.append(
            f"{path.name} gives no pictures of what it takes, as an untrained network does not; they are taken for "
            "0..1, RGB"
        )
    multiple = (
        int(np.lcm(multiple, facts.multiple)) if size is None or all(s % facts.multiple == 0 for s in size) else 1
    )
    return Adopted(graph, facts, multiple, 1, size, None if form == PixelForm() else form, notes)


def _runner(model: Model, levels: bool, spare: int) -> Network:
    """A graph of any form as a function from its pixels to its pixels, bounded in memory and time; levels: it takes
    uint8."""
    value_in, value_out = border(model, "the network")
    kind = np.uint8 if levels else np.float32
    too_much = f"the graph takes more than {spare >> 30} GiB for small pictures; srdeploy exports what takes less"
    try:
        with memory_bounded(spare):
            run = open_graph(model.SerializeToString(), seconds=_SECONDS)
    except MemoryError:
        raise ModelError(too_much) from None

    def theirs(values: Planes) -> Planes:
        try:
            with memory_bounded(spare):
                return run({value_in.name: values.astype(kind)})[value_out.name]
        except (MemoryError, OutOfMemory):
            raise NoSuchNetwork(too_much) from None

    return theirs


def _in_our_form(model: Model, form: PixelForm, channels: int, multiple: int, size: tuple[int, int] | None) -> Model:
    """The graph with our form around it, for any number of pictures when it holds for them, else for one."""
    side = _up(32, multiple)
    feed = np.random.default_rng(1).random((2, channels, *(size or (side, side))), dtype=np.float32)
    graph = in_our_form(model, form, channels, batched=True)
    try:
        run = open_graph(graph.SerializeToString())
        both = run({"input": feed})["output"]
        one = np.concatenate([run({"input": half})["output"] for half in (feed[:1], feed[1:])])
    except (ModelError, OutOfMemory):
        return in_our_form(model, form, channels, batched=False)
    if both.shape == one.shape and np.allclose(both, one, rtol=1e-4, atol=CLOSE * max(1.0, float(np.abs(one).max()))):
        return graph
    return in_our_form(model, form, channels, batched=False)


def not_tileable(name: str, facts: Facts) -> list[str]:
    """What is said aloud of a network whose result depends on the whole picture."""
    if facts.why_not is None:
        return []
    return [f"{name} cannot be tiled exactly ({facts.why_not}); it runs on whole pictures, unless --overlap is given"]


def _free(net: "ForeignNet", path: Path, network: Network) -> Adopted:
    """The network with free sides, and the least multiple of them at which it gives what torch gives."""
    side = _up(max(64, net.minimum), net.multiple if net.square else np.lcm(net.multiple, 64))
    if net.square:
        raise ModelError("it takes square pictures only")
    graph = _read(net, (side, 2 * side), free=True)  # no square: some networks keep tables for one
    for multiple in dict.fromkeys(int(np.lcm(net.multiple, number)) for number in MULTIPLES):
        low = _up(max(32, net.minimum), 2 * multiple)
        sizes = [(low + multiple, low + 3 * multiple), (low + 3 * multiple, low + 5 * multiple)]
        feeds = [_noise(net.channels, size) for size in sizes]
        # Many pad to sides that they like: at such as these they take another way than at those.
        others = [_noise(net.channels, (_up(low, side), _up(3 * low, side))), _noise(net.channels, (3 * low, low))]
        if all(_agree(network, graph, feed) for feed in (*feeds, *others)):
            simple = _simplified(graph, feeds)
            graph = simple if all(_agree(network, simple, feed) for feed in others) else graph
            facts = facts_of(graph, str(path), net.scale)
            multiple = int(np.lcm(multiple, facts.multiple))
            return Adopted(graph, facts, multiple, net.minimum, None, None, not_tileable(path.name, facts))
    raise ModelError("its graph holds for one size only")


def _fixed_size(net: "ForeignNet") -> tuple[int, int]:
    side = _up(max(FIXED_SIDE, net.minimum), net.multiple)
    return side, side


def _check_size(net: "ForeignNet", size: tuple[int, int]) -> None:
    if any(side % net.multiple or side < net.minimum for side in size) or (net.square and size[0] != size[1]):
        shape = " and equal" if net.square else ""
        raise ModelError(
            f"--size {_text(size)} was asked, and {net.architecture} takes sides that are multiples of {net.multiple}, "
            f"at least {net.minimum}{shape}; type such a size"
        )


def _read(net: "ForeignNet", size: tuple[int, int], free: bool) -> Model:
    from srdeploy.learn.tracing import onnx_from_foreign

    model = parse_model(onnx_from_foreign(net, *size, free), net.architecture)
    for value in (*model.graph.input, *model.graph.output):  # what was computed on the way may have lost it
        value.type.tensor_type.shape.dim[1].dim_value = net.channels
    return rename_border(model)


def _simplified(graph: Model, feeds: list[dict[str, Planes]]) -> Model:
    return with_constant_sizes(with_constants_folded(graph, run_graph), run_graph, feeds)


def _agree(network: Network, graph: Model, feed: dict[str, Planes]) -> bool:
    """Whether a graph gives what the network gives; not when one of them refuses the size."""
    try:
        expected = network(feed["input"])
        found = run_graph(graph.SerializeToString(), feed)["output"]
    except (ModelError, OutOfMemory, RuntimeError, ValueError, IndexError, AssertionError):
        return False
    if expected.shape != found.shape:
        return False
    return float(np.abs(expected - found).max()) <= CLOSE * max(1.0, float(np.abs(expected).max()))


def _noise(channels: int, size: tuple[int, int]) -> dict[str, Planes]:
    return {"input": np.random.default_rng(0).random((1, channels, *size), dtype=np.float32)}


def _up(value: int, multiple: int) -> int:
    return int(-(-value // multiple) * multiple)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
