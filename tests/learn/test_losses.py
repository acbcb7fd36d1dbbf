"""Losses against their formulas."""

import pytest

torch = pytest.importorskip("torch")

from srdeploy.learn.losses import LOSSES  # noqa: E402

A = torch.tensor([[[[0.2, 0.5]]]])
B = torch.tensor([[[[0.6, 0.5]]]])


@pytest.mark.parametrize(
    ("name", "value"), [("l1", 0.2), ("l2", 0.08), ("charbonnier", ((0.16 + 1e-6) ** 0.5 + 1e-3) / 2)]
)
def test_value(name: str, value: float) -> None:
    assert float(LOSSES[name](A, B)) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_smallest_where_equal(name: str) -> None:
    assert float(LOSSES[name](A, A)) <= 1.001e-3
