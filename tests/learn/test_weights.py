"""Weights on disk: the same network comes back; anything else is refused, and nothing in it is run."""

import json
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from srdeploy.errors import ModelError, OutputError  # noqa: E402
from srdeploy.learn.nets import NETWORKS, build_net  # noqa: E402
from srdeploy.learn.weights import load_net, read_metadata, save_net  # noqa: E402


@pytest.mark.parametrize("network", NETWORKS)
def test_saved_and_loaded(tmp_path: Path, network: str) -> None:
    net = build_net(network, 2)
    save_net(net, tmp_path / "w.safetensors", "my-x2", network)
    again = load_net(tmp_path / "w.safetensors")
    x = torch.rand(1, net.channels, 9, 8)
    assert torch.equal(net(x), again(x))
    assert not again.training
    assert read_metadata(tmp_path / "w.safetensors")["name"] == "my-x2"


def test_same_weights_same_bytes(tmp_path: Path) -> None:
    net = build_net("espcn", 3)
    for name in ("a", "b"):
        save_net(net, tmp_path / f"{name}.safetensors", "n-x3", "espcn")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_a_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.safetensors"
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ModelError, match="not a readable safetensors"):
        load_net(path)
    assert not Path("executed").exists()


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(ModelError, match="no checkpoint"):
        load_net(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="not a readable safetensors"):
        load_net(path)
    safetensors_torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="does not say which network"):
        load_net(path)
    safetensors_torch.save_file(
        {"x": torch.zeros(1)}, path, {"srdeploy": '{"name": "a", "network": "espcn", "scale": 4}'}
    )
    with pytest.raises(ModelError, match="does not fit the network espcn"):
        load_net(path)
    safetensors_torch.save_file(
        {"x": torch.zeros(1)}, path, {"srdeploy": '{"name": "a", "network": "nope", "scale": 4}'}
    )
    with pytest.raises(ModelError, match="no network 'nope'"):
        load_net(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        save_net(build_net("espcn", 2), tmp_path / "none" / "w.safetensors", "a", "espcn")


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", 7, "two\nlines"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: object) -> None:
    """Files are called by it: `srdeploy export` would write wherever a stranger's checkpoint says."""
    path = tmp_path / "theirs.safetensors"
    metadata = {"srdeploy": json.dumps({"name": name, "network": "espcn", "scale": 2})}
    path.write_bytes(safetensors_torch.save(build_net("espcn", 2).state_dict(), metadata))
    with pytest.raises(ModelError, match="does not say which network"):
        load_net(path)
