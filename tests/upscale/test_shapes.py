"""Few shapes for an engine that prepares itself for each, and the same bytes."""

import numpy as np
import pytest

from srdeploy import zoo
from srdeploy.backends import Session, open_session
from srdeploy.backends.onnxfile import read_spec
from srdeploy.picture import Pixels
from srdeploy.upscale import Upscaler, shapes, tiles
from srdeploy.upscale.shapes import CALL_PIXELS, Shapes

SPEC = read_spec(zoo.find("fast-x4"))
ALIKE = [(246, 246)] * 60
SIZES = [tuple(map(int, size)) for size in np.random.default_rng(0).integers(160, 321, (60, 2))]


class Engine:
    """Takes a second for a million pixels, and so many pixels' time more for each shape that it has not met."""

    def __init__(self, price: int) -> None:
        self.price = price
        self.met: set[tuple[int, int]] = set()
        self.pixels = 0.0

    def run(self, chosen: Shapes, height: int, width: int) -> int | None:
        side = chosen.choose(height, width)
        if side is None:
            boxes, shape = 1, (height, width)
        else:
            keep = side - 2 * SPEC.halo
            boxes = (1 + -(-(height - side) // keep)) * (1 + -(-(width - side) // keep))
            shape = side, side
        for _ in range(boxes):
            taken = shape[0] * shape[1] + CALL_PIXELS + (0 if shape in self.met else self.price)
            self.met.add(shape)
            self.pixels += taken
            chosen.took(*shape, taken / 1e6)
        return side


def test_pictures_of_one_size_run_whole_and_are_prepared_for_once() -> None:
    engine, chosen = Engine(200_000), Shapes(SPEC, SPEC.halo)
    assert {engine.run(chosen, *size) for size in ALIKE} == {None} and engine.met == {(246, 246)}


def test_of_many_sizes_few_shapes_are_made_where_preparing_is_dear() -> None:
    engine, chosen = Engine(200_000), Shapes(SPEC, SPEC.halo)
    for size in SIZES:
        engine.run(chosen, *size)
    assert len(engine.met) <= 9
    whole = sum(height * width + CALL_PIXELS + 200_000 for height, width in SIZES)
    assert engine.pixels < 0.6 * whole


def test_where_preparing_is_cheap_pictures_run_whole() -> None:
    engine, chosen = Engine(2_000), Shapes(SPEC, SPEC.halo)
    sides = [engine.run(chosen, *size) for size in SIZES]
    assert set(sides[30:]) == {None}  # by then it is known to be cheap


def test_never_dearer_than_all_whole_by_much_whatever_comes() -> None:
    """Ski rental pays at most twice; the sizes are such that nothing can be shared."""
    engine, chosen = Engine(50_000), Shapes(SPEC, SPEC.halo)
    sizes = [(49 + 40 * number, 900 - 13 * number) for number in range(30)]
    for size in sizes:
        engine.run(chosen, *size)
    assert engine.pixels < 2 * sum(height * width + CALL_PIXELS + 50_000 for height, width in sizes)


def test_what_is_expected_runs_whole_and_small_pictures_do_too() -> None:
    engine, chosen = Engine(300_000), Shapes(SPEC, SPEC.halo)
    for size in SIZES[:30]:
        engine.run(chosen, *size)
    assert chosen.choose(270, 480) is not None
    chosen.expect(270, 480)
    assert chosen.choose(270, 480) is None
    assert chosen.choose(20, 500) is None and chosen.choose(1, 1) is None


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "_REMEMBERED", 20)
    engine, chosen = Engine(100_000), Shapes(SPEC, SPEC.halo)
    for size in SIZES:
        engine.run(chosen, *size)
    assert max(len(chosen._ready), len(chosen._run)) <= 21 and len(chosen._missed) < 60


@pytest.mark.parametrize("name", ["fast-x4", "srcnn-rgb-x4"])
def test_openvino_gives_the_same_bytes_for_pictures_of_many_sizes(name: str) -> None:
    pytest.importorskip("openvino")
    session = open_session(zoo.find(name, precision="int8"), "openvino", "cpu", 1)
    given: set[tuple[int, int]] = set()
    random = np.random.default_rng(0)
    whole, cut = Upscaler(session, tile="none"), Upscaler(session)
    infer = session._infer

    def seen(pixels: Pixels, out: Pixels) -> None:
        given.add(pixels.shape[1:3])
        infer(pixels, out)

    for number in range(24):
        size = (int(random.integers(60, 160)), int(random.integers(60, 160)))
        picture = random.integers(0, 256, (*size, 3), np.uint8)
        expected = whole(picture)
        session._infer = seen  # type: ignore[method-assign]
        made = cut(picture)
        session._infer = infer  # type: ignore[method-assign]
        assert np.array_equal(made, expected), (number, size)
    assert any(side in given for side in ((48, 48), (64, 64), (80, 80), (96, 96), (112, 112)))


def test_only_exact_tiles_are_cut_unasked() -> None:
    """Boxes with less overlap than the halo would change the result, and who asks for tiles gets those."""
    pytest.importorskip("openvino")
    session: Session = open_session(zoo.find("espcn-x2", precision="int8"), "openvino", "cpu", 1)
    assert isinstance(tiles.Tiled(session, "auto", 4, lambda: None, tiles.Log())._shapes, Shapes)
    for tile, halo in (("auto", 1), ("none", 4), (64, 4), ("auto", None)):
        assert tiles.Tiled(session, tile, halo, lambda: None, tiles.Log())._shapes is None  # type: ignore[arg-type]
    ort = open_session(zoo.find("espcn-x2"), "ort", "cpu", 1)
    assert tiles.Tiled(ort, "auto", 4, lambda: None, tiles.Log())._shapes is None
