"""Memory that runs out, results that are none, and engines that are not what they say: through the seam, by fakes."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import srdeploy
from srdeploy import zoo
from srdeploy.backends import Session, open_session, session
from srdeploy.backends.onnxfile import read_spec
from srdeploy.errors import DeviceError, ModelError, OutOfMemory
from srdeploy.picture import Picture, Pixels
from srdeploy.upscale import Upscaler, tiles

FILE = zoo.find("espcn-x2")


class Fake(Session):
    """Enlarges by repeating pixels; `before` may raise or change what comes out. `sizes` are those it was given."""

    def __init__(
        self,
        before: Callable[[int, Pixels], float | None] = lambda call, pixels: None,
        pixels: Any = "uint8",
        arithmetic: str = "fp16",
        device: str = "cpu",
        **facts: Any,
    ) -> None:
        spec = replace(read_spec(FILE), pixels=pixels, **facts)
        super().__init__(spec, FILE, "ort", device, arithmetic)
        self.before = before
        self.sizes: list[tuple[int, int]] = []

    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        self.sizes.append(pixels.shape[1:3])
        spoilt = self.before(len(self.sizes), pixels)
        out[...] = pixels.repeat(self.spec.scale, 1).repeat(self.spec.scale, 2)
        if spoilt is not None:
            out[...] = spoilt


def gray(height: int, width: int, depth: int = 8, seed: int = 0) -> Picture:
    dtype = np.uint8 if depth == 8 else np.uint16
    plane = np.random.default_rng(seed).integers(50, (1 << depth) - 1, (height, width), dtype)
    return Picture("gray", (plane,), depth)


def larger(picture: Picture) -> Pixels:
    return picture.planes[0].repeat(2, 0).repeat(2, 1)


def test_nan_on_frame_7_is_computed_again_in_fp32() -> None:
    exact = Fake(pixels="float", arithmetic="fp32")
    fake = Fake(lambda call, _: np.nan if call == 7 else None, pixels="float")
    upscaler = Upscaler(fake, fp32=lambda: exact)
    frames = [gray(20, 30, 10, seed) for seed in range(10)]
    for frame, big in zip(frames, upscaler.stream(frames), strict=True):
        assert np.array_equal(big.planes[0], larger(frame))
    assert (len(fake.sizes), len(exact.sizes)) == (10, 1)
    retried, notes = upscaler.log.take()
    assert retried == 1
    assert "no numbers in fp16; those parts were computed again in fp32" in notes[0]
    assert upscaler.log.take() == (0, ())


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("value", [0, 255])
def test_black_or_white_where_the_picture_is_not(value: int, whole: bool) -> None:
    """uint8 cannot say NaN: engines make 0 of it or 255, in the whole result or in as much as one value reaches."""

    class Spoilt(Fake):
        def _infer(self, pixels: Pixels, out: Pixels) -> None:
            super()._infer(pixels, out)
            place = out if whole else out[:, 10:24, 30:44]
            place[...] = value

    upscaler = Upscaler(Spoilt(), fp32=lambda: Fake(arithmetic="fp32"))
    picture = Picture("gray", (gray(40, 50).planes[0] // 2,))  # neither black nor bright
    assert np.array_equal(upscaler(picture).planes[0], larger(picture))
    retried, notes = upscaler.log.take()
    assert retried == 1 and "gave no numbers in fp16; those parts were computed again in fp32" in notes[0]


@pytest.mark.parametrize("engine", ["ort", "openvino"])
def test_what_an_engine_makes_of_nan_is_seen(engine: str, tmp_path: Path) -> None:
    """A network that takes logarithms of what may be negative: one engine makes black of them, the other white."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("openvino" if engine == "openvino" else "onnxruntime")
    from srdeploy.graph.files import stamp_and_save
    from srdeploy.graph.pixels import wrap_pixels

    node, value, float32 = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    numbers = {"third": np.float32(0.3), "none": np.float32(0), "same": np.ones((4, 1, 1, 1), np.float32)}
    graph = onnx.helper.make_graph(
        [
            node("Sub", ["input", "third"], ["above"]),
            node("Log", ["above"], ["logarithm"]),
            node("Mul", ["logarithm", "none"], ["nothing"]),
            node("Add", ["input", "nothing"], ["sum"]),
            node("Conv", ["sum", "same"], ["four"]),
            node("DepthToSpace", ["four"], ["output"], blocksize=2, mode="CRD"),
        ],
        "test",
        [value("input", float32, ["batch", 1, "height", "width"])],
        [value("output", float32, ["batch", 1, "out_height", "out_width"])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in numbers.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    spec = replace(read_spec(FILE), name="log-x2", halo=0, parity=None)
    stamp_and_save(wrap_pixels(model), spec, tmp_path / "log-x2.fp32.onnx")
    upscaler = Upscaler(open_session(tmp_path / "log-x2.fp32.onnx", engine, "cpu", 1))
    upscaler(np.full((20, 30), 90, np.uint8))
    assert upscaler.log.take() == (0, ())
    upscaler(np.full((20, 30), 60, np.uint8))
    retried, notes = upscaler.log.take()
    assert retried == 1 and "gives black or white where the picture is not, in fp32 too" in notes[0]


def test_black_pictures_stay_black() -> None:
    upscaler = Upscaler(Fake())
    dark = np.full((30, 40), 20, np.uint8)
    dark[5, 5] = 255  # one bright pixel may drown
    assert upscaler(dark).max() == 255
    upscaler = Upscaler(Fake(lambda call, pixels: 0))
    assert not upscaler(dark).any()
    assert upscaler.log.take()[0] == 0


def test_bright_pictures_may_become_white() -> None:
    upscaler = Upscaler(Fake(lambda call, pixels: 255))
    bright = np.full((30, 40, 3), 200, np.uint8)
    bright[:2] = 10  # a thin dark line may drown
    assert (upscaler(bright) == 255).all()
    assert upscaler.log.take()[0] == 0


def test_what_fp32_cannot_mend_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"no fp32 file of it.*srdeploy export"):
        Upscaler(Fake(lambda call, pixels: 0))(gray(20, 20))
    broken = Fake(lambda call, pixels: np.inf, pixels="float", arithmetic="fp32")
    with pytest.raises(ModelError, match="not finite in fp32 too"):
        Upscaler(broken)(gray(20, 20))
    assert len(broken.sizes) == 2


@pytest.mark.parametrize(("tile", "end"), [("auto", 75), (150, 37)])
def test_out_of_memory_twice_halves_the_tile_twice(tile: Any, end: int) -> None:
    def before(call: int, pixels: Pixels) -> None:
        if call <= 2:
            raise OutOfMemory("cpu ran out of memory for these pixels; type a smaller --tile")

    fake = Fake(before)
    upscaler = Upscaler(fake, tile)
    picture = gray(200, 301)
    assert np.array_equal(upscaler(picture).planes[0], larger(picture))
    assert upscaler.tile_for(200, 301) == end
    _, notes = upscaler.log.take()
    assert notes == ("memory ran out; gone on with smaller tiles, which give the same result",)
    before_again = len(fake.sizes)
    upscaler(picture)  # remembered: the next picture begins with what fitted
    assert len(set(fake.sizes[before_again:])) == 1


def test_a_result_that_does_not_fit_is_refused_before_it_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is lent and not there ends a process without a word."""
    asked: list[int] = []
    monkeypatch.setattr("srdeploy.upscale.upscaler.has_room", lambda needed: asked.append(needed))
    fake = Fake()
    with pytest.raises(OutOfMemory, match="not enough memory for a result of 8400x8200"):
        Upscaler(fake)(Picture("gray", (np.zeros((4100, 4200), np.uint8),)))
    assert asked == [8200 * 8400 + (96 << 20)] and not fake.sizes
    Upscaler(fake)(gray(100, 100))
    assert len(asked) == 1, "a small one is not asked about"


def test_no_tile_is_small_enough() -> None:
    def before(call: int, pixels: Pixels) -> None:
        raise OutOfMemory("cpu ran out of memory")

    with pytest.raises(OutOfMemory):
        Upscaler(Fake(before))(gray(200, 300))
    fake = Fake(before)
    with pytest.raises(OutOfMemory, match="cpu ran out"):
        Upscaler(fake, "none")(gray(200, 300))
    assert len(fake.sizes) == 1


def test_tiles_follow_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [4 << 30]
    monkeypatch.setattr(tiles, "free_bytes", lambda reserved: max(0, free[0] - reserved))
    sizes = (400, 500), (2000, 3000)
    facts = {"activation_bytes": 1000}
    chosen = []
    for amount in (4 << 30, 300 << 20, 100 << 20, 1 << 20):
        free[0] = amount
        chosen.append([Upscaler(Fake(**facts)).tile_for(*size) for size in sizes])
    assert chosen[0][0] is None  # small: runs whole
    large = [tile for _, tile in chosen]
    assert all(tile is not None for tile in large)
    assert large == sorted(large, reverse=True) and large[-1] == tiles.LEAST_TILE  # type: ignore[type-var]
    assert set(large) <= {*tiles.TILES, tiles.LEAST_TILE}


@pytest.mark.parametrize("shape", [(211, 307, 3), (211, 307)])
@pytest.mark.parametrize("name", ["espcn-x2", "espcn-x3"])
def test_tiled_is_whole_byte_for_byte(name: str, shape: tuple[int, ...]) -> None:
    """Through colour conversion and chroma in bands, too."""
    pixels = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    whole = srdeploy.open(name, tile="none", precision="fp32", backend="ort", device="cpu", threads=1)
    tiled = srdeploy.open(name, tile=64, precision="fp32", backend="ort", device="cpu", threads=1)
    assert np.array_equal(whole(pixels), tiled(pixels))
    deep = pixels.astype(np.uint16) * 257
    assert np.array_equal(whole(deep), tiled(deep))


def test_several_threads_and_the_same_bytes() -> None:
    upscaler = srdeploy.open("espcn-x2", tile=48, device="cpu", threads=1)
    pictures = [np.random.default_rng(i).integers(0, 256, (60 + i, 90, 3), np.uint8) for i in range(4)]
    pictures[3] = pictures[3].astype(np.uint16) * 257
    expected = [upscaler(picture) for picture in pictures]
    upscaler = srdeploy.open("espcn-x2", tile=48, device="cpu", threads=1)
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(3):
            if not np.array_equal(upscaler(pictures[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Liar(Fake):
    """Says CUDA, and computes on the CPU."""

    def devices_used(self) -> set[str]:
        return {"cpu"}


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "auto"])
def test_an_engine_that_says_cuda_and_runs_on_the_cpu(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Path, device: str, threads: int | None, precision: Any) -> Session:
        return Liar(device="cuda:0")

    monkeypatch.setitem(session.ENGINES, "ort", lambda: session.Engine(opened, {"ort cuda": lambda: ["cuda:0"]}))
    with pytest.raises(DeviceError, match=r"computes espcn-x2\S* on cpu; type: --device cpu"):
        open_session(FILE, device=asked)


def test_a_session_on_another_device_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(session.ENGINES, "ort", lambda: session.Engine(lambda *_: Fake(device="cpu"), {}))
    with pytest.raises(DeviceError, match=r"--device cuda:1 was asked"):
        open_session(FILE, "ort", "cuda:1")


class FakeGpu(Fake):
    """Several calls at once, of several pictures each, and memory of its own."""

    at_once = 3

    def __init__(self, *words: Any, free: int = 8 << 30, **facts: Any) -> None:
        super().__init__(*words, device="cuda:0", **facts)
        self.free = free
        self.shapes: list[tuple[int, ...]] = []

    def free_bytes(self) -> int:
        return self.free

    def _infer(self, pixels: Pixels, out: Pixels) -> None:
        self.shapes.append(pixels.shape)
        super()._infer(pixels, out)


@pytest.mark.parametrize("depth", [8, 10])
def test_a_gpu_meets_few_shapes_however_many_sizes_come(depth: int) -> None:
    fake, exact, rng = FakeGpu(), FakeGpu(pixels="float", arithmetic="fp32"), np.random.default_rng(1)
    upscaler = Upscaler(fake, deep=lambda: exact)
    sizes = {(int(h), int(w)) for h, w in rng.integers(80, 400, (60, 2))}
    for size in sizes:
        picture = gray(*size, depth)
        assert np.array_equal(upscaler(picture).planes[0], larger(picture))
    shapes = (fake if depth == 8 else exact).shapes
    assert len(sizes) > 55 and len(set(shapes)) <= 24
    computed = sum(n * h * w for n, h, w, _ in shapes)
    assert computed < 1.8 * sum(h * w for h, w in sizes)


def test_what_is_expected_again_runs_whole_on_a_gpu_if_it_fits() -> None:
    fake = FakeGpu()
    upscaler = Upscaler(fake)
    upscaler.expect(270, 480)
    assert upscaler.tile_for(270, 480) is None and upscaler.tile_for(271, 480) is not None
    small = Upscaler(FakeGpu(free=6 * fake.spec.activation_bytes * 200**2))
    small.expect(270, 480)
    assert small.tile_for(270, 480) is not None
    engine = FakeGpu()
    engine.largest = (256, 300)
    bounded = Upscaler(engine)
    bounded.expect(270, 480)
    picture = gray(270, 480)
    assert np.array_equal(bounded(picture).planes[0], larger(picture))
    assert all(h <= 256 and w <= 300 for _, h, w, _ in engine.shapes)


def test_a_gpu_that_runs_out_of_memory_twice() -> None:
    def before(call: int, pixels: Pixels) -> None:
        if call <= 2:
            raise OutOfMemory("cuda:0 ran out of memory for these pixels; type a smaller --tile")

    fake = FakeGpu(before)
    upscaler, picture = Upscaler(fake), gray(500, 700)
    assert np.array_equal(upscaler(picture).planes[0], larger(picture))
    assert upscaler.log.take()[1] == ("memory ran out; gone on with smaller tiles, which give the same result",)
    assert all(shape[0] == 1 for shape in fake.shapes[-4:])
    with pytest.raises(OutOfMemory, match="cuda:0 ran out"):
        Upscaler(FakeGpu(lambda call, pixels: before(1, pixels)))(picture)


def test_one_bad_result_of_several_is_computed_again_alone() -> None:
    class Partly(FakeGpu):
        def _infer(self, pixels: Pixels, out: Pixels) -> None:
            super()._infer(pixels, out)
            if len(self.shapes) == 1:
                out[1] = 0

    fake, exact = Partly(), FakeGpu(arithmetic="fp32")
    upscaler, picture = Upscaler(fake, 100, fp32=lambda: exact), gray(400, 400)
    assert np.array_equal(upscaler(picture).planes[0], larger(picture))
    assert (upscaler.log.take()[0], len(exact.shapes)) == (1, 1)
    assert len(fake.shapes) < 4 < fake.shapes[0][0]
