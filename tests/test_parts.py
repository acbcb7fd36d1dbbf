"""What is worth most for what it costs comes first."""

import numpy as np

from srdeploy.parts import LANES, STEPS, moves_by_worth, parts_after


def test_free_places_come_first_and_go_to_the_loudest() -> None:
    noise = {"quiet": np.array([1.0, 0.1, 0.0, 0.0]), "loud": np.array([0.1, 9.0, 0.1, 0.1])}
    alive = {"quiet": np.array([True, True, False, False]), "loud": np.array([True] * 4)}
    moves = moves_by_worth(noise, alive, {"quiet": 100, "loud": 100})
    assert moves[0][0] == "quiet" and moves[0][1].tolist() == [3, 1, 0, 0]
    assert moves[1][0] == "loud" and moves[1][1].tolist() == [1, 1 + LANES, 1, 1]
    assert [name for name, _ in moves].count("loud") == STEPS
    assert [int(counts.sum()) for name, counts in moves if name == "loud"] == [
        4 + LANES * n for n in range(1, STEPS + 1)
    ]
    assert parts_after(moves[:2]).keys() == {"quiet", "loud"}


def test_dearer_places_come_later() -> None:
    noise = {name: np.array([1.0, 1.0]) for name in ("dear", "cheap")}
    alive = {name: np.array([True, True]) for name in noise}
    assert moves_by_worth(noise, alive, {"dear": 9, "cheap": 1})[0][0] == "cheap"
