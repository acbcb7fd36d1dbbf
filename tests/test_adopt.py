"""Somebody else's checkpoints, built with random weights: exported, proved, and tiles equal to the whole."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srdeploy.backends import open_session
from srdeploy.checking import check_file
from srdeploy.errors import ModelError
from srdeploy.export import export
from srdeploy.media.pictures import write_picture
from srdeploy.picture import Picture
from srdeploy.upscale import Upscaler

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")


def _architectures() -> Any:
    from srdeploy.learn.vision import mend_torchvision

    mend_torchvision()
    pytest.importorskip("spandrel")
    from spandrel import architectures

    return architectures


# name -> the network, (scale, multiple, whether it can be tiled)
NETWORKS: dict[str, tuple[Callable[[Any], Any], tuple[int, int, bool]]] = {
    "compact": (lambda a: a.Compact.Compact(num_feat=8, num_conv=2, upscale=4), (4, 1, True)),
    "luma": (lambda a: a.Compact.Compact(num_in_ch=1, num_out_ch=1, num_feat=4, num_conv=1, upscale=2), (2, 1, True)),
    "span": (lambda a: a.SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2), (2, 1, True)),
    "esrgan": (lambda a: a.ESRGAN.ESRGAN(in_nc=12, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2),
               (2, 4, True)),
    "safmn": (lambda a: a.SAFMN.SAFMN(dim=8, n_blocks=1, upscaling_factor=2), (2, 8, True)),
    "plksr": (lambda a: a.PLKSR.PLKSR(dim=8, n_blocks=1, upscaling_factor=2, kernel_size=9), (2, 1, True)),
    "mosr": (lambda a: a.MoSR.MoSR(upscale=2, n_block=1, dim=16), (2, 1, True)),
    "rcan": (lambda a: a.RCAN.RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=16), (2, 1, False)),
    "swinir": (lambda a: a.SwinIR.SwinIR(upscale=2, embed_dim=8, depths=[2], num_heads=[2], window_size=8, mlp_ratio=2,
                                         upsampler="pixelshuffledirect"), (2, 8, False)),
    "hat": (lambda a: a.HAT.HAT(embed_dim=12, depths=(1,), num_heads=(2,), window_size=8, upscale=2, squeeze_factor=4,
                                upsampler="pixelshuffle"), (2, 8, False)),
    "dat": (lambda a: a.DAT.DAT(embed_dim=32, depth=[1], num_heads=[2], split_size=[4, 8], upscale=2,
                                expansion_factor=2.0, upsampler="pixelshuffle"), (2, 1, False)),
    "omnisr": (lambda a: a.OmniSR.OmniSR(num_feat=16, res_num=1, up_scale=2), (2, 8, False)),
    "realcugan": (lambda a: a.RealCUGAN.UpCunet2x_fast(), (2, 4, False)),
    "moesr": (lambda a: a.MoESR.MoESR(scale=2, dim=16, n_blocks=1, n_block=1), (2, 1, False)),
    "seemore": (lambda a: a.SeemoRe.SeemoRe(scale=2, num_layers=1, embedding_dim=16, num_experts=2), (2, 1, False)),
    "swiftsrgan": (lambda a: a.SwiftSRGAN.SwiftSRGAN(num_channels=16, num_blocks=1, upscale_factor=2), (2, 1, True)),
}  # fmt: skip


HALVED = ("compact", "hat", "moesr", "omnisr", "seemore")
"""Networks of as different kinds that are exported in fp16 too."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:32, :48]
    pixels = np.stack([(x * 4 + y) % 256, (x * y) % 256, 255 - y * 5], axis=2).astype(np.uint8)
    write_picture(folder / "pattern.png", Picture("rgb", (pixels,)))
    return folder


def _saved(name: str, path: Path) -> None:
    torch.manual_seed(3)
    torch.save({"params_ema": NETWORKS[name][0](_architectures()).state_dict()}, path)


EVERY_PRECISION = [("compact", None), ("plksr", None), ("compact", (24, 64))]


@pytest.mark.parametrize(("name", "size"), [*EVERY_PRECISION, pytest.param("swinir", None, marks=pytest.mark.long)])
def test_another_architecture_in_every_precision(
    name: str, size: tuple[int, int] | None, samples: Path, tmp_path: Path
) -> None:
    """Of convolutions, for one size of picture alone, and with attention."""
    _saved(name, tmp_path / "theirs.pth")
    made = export(str(tmp_path / "theirs.pth"), ("fp16", "int8"), False, tmp_path / "out", calibrate=samples, size=size)
    assert [file.path.name for file in made.files] == [
        f"theirs.{kind}.onnx" for kind in ("fp32", "fp16", "int8", "int8-trt")
    ]
    picture = np.tile(np.arange(40, 104, dtype=np.uint8)[None, None, :, None], (1, 24, 1, 3))
    results = [open_session(file.path, "ort", "cpu").run(picture).astype(int) for file in made.files]
    for file, result in zip(made.files, results, strict=True):
        assert file.parity.passed and file.spec.size == size
        assert check_file(file.path, None if file.precision != "fp32" else tmp_path / "theirs.pth").parity.passed
        assert np.abs(result - results[0]).mean() < 2


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_of_another_architecture(name: str, pictures: Path, tmp_path: Path) -> None:
    scale, multiple, tileable = NETWORKS[name][1]
    _saved(name, tmp_path / "theirs.pth")
    precisions = ("fp32", "fp16") if name in HALVED else ("fp32",)
    made = export(str(tmp_path / "theirs.pth"), precisions, False, tmp_path / "out", pictures)
    assert all(check_file(file.path, None, pictures).parity.passed for file in made.files[1:])
    session = open_session(made.files[0].path)
    spec = session.spec
    assert (spec.name, spec.scale, spec.channels) == ("theirs", scale, 1 if name == "luma" else 3)
    assert (spec.multiple, spec.size, spec.reference) == (multiple, None, "theirs.pth")
    notes = [note for note in made.notes if "stays in fp32" not in note]
    assert (spec.halo is not None) == tileable == (not notes)
    data = made.files[0].path.read_bytes()
    for secret in (str(tmp_path), str(Path.home()), os.getcwd(), os.uname().nodename, "site-packages"):  # noqa: PTH109
        assert len(secret) < 5 or secret.encode() not in data  # two letters turn up in any weights
    if not tileable:
        assert "cannot be tiled" in notes[0]
        with pytest.raises(ModelError, match="--tile 16 --overlap 16"):
            Upscaler(session, 16)
        return
    rng = np.random.default_rng(1)
    picture = Picture("rgb", (rng.integers(0, 256, (150, 173, 3), np.uint8),))
    whole, tiled = Upscaler(session, "none")(picture), Upscaler(session, 40)(picture)
    assert np.array_equal(whole.planes[0], tiled.planes[0])


def test_one_size_is_stamped_and_honoured(pictures: Path, tmp_path: Path) -> None:
    _saved("esrgan", tmp_path / "theirs.pth")
    made = export(str(tmp_path / "theirs.pth"), out=tmp_path / "out", data=pictures, size=(96, 112))
    upscaler = Upscaler(open_session(made.files[0].path))
    assert upscaler.session.spec.size == (96, 112)
    rng = np.random.default_rng(1)
    big = Picture("rgb", (rng.integers(0, 256, (101, 200, 3), np.uint8),))
    assert upscaler(big).planes[0].shape == (202, 400, 3)
    assert upscaler.exact_for(101, 200) and not upscaler.exact_for(40, 200)
    assert [upscaler.tile_name(*sides) for sides in ((101, 200), (96, 112))] == ["96x112", "none"]
    free = export(str(tmp_path / "theirs.pth"), out=tmp_path / "free", data=pictures)
    whole = Upscaler(open_session(free.files[0].path), "none")(big)
    assert np.array_equal(upscaler(big).planes[0], whole.planes[0])
    with pytest.raises(ModelError, match="96x112 pixels only"):
        Upscaler(upscaler.session, 64)
    with pytest.raises(ModelError, match="H and W 96 and 112"):
        upscaler.session.run(np.zeros((1, 96, 96, 3), np.uint8))
    with pytest.raises(ModelError, match="multiples of 4"):
        export(str(tmp_path / "theirs.pth"), out=tmp_path / "no", data=pictures, size=(97, 112))


class _Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(50_000_000))


HOSTILE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "code": ("would run code", lambda p: torch.save({"params": _Code(p.with_name("ran"))}, p)),
    "raw pickle": ("damaged", lambda p: p.write_bytes(pickle.dumps(_Code(p.with_name("ran"))))),
    "whole module": ("would run code", lambda p: torch.save(torch.nn.Linear(2, 2), p)),
    "TorchScript": ("TorchScript", lambda p: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), p)),
    "bomb": ("compressed", _bomb),
    "empty": ("empty", lambda p: p.touch()),
    "text": ("damaged", lambda p: p.write_text("no weights here\n")),
    "pipe": ("no file", os.mkfifo),
    "claimed": ("claims", lambda p: torch.save({"a.weight": torch.ones(1).expand(90_000, 90_000)}, p)),
    "deep": ("names layer", lambda p: torch.save({"body.999999999.weight": torch.ones(8, 8, 3, 3)}, p)),
    "list": ("no weights by name", lambda p: torch.save([1, 2], p)),
    "complex": ("complex", lambda p: torch.save({"a": torch.ones(3, dtype=torch.complex64)}, p)),
    "sparse": ("sparse", lambda p: torch.save({"a": torch.eye(30).to_sparse()}, p)),
    "of nothing": ("no architecture", lambda p: torch.save({"a": torch.ones(3)}, p)),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hostile_checkpoints(kind: str, tmp_path: Path) -> None:
    _architectures()
    message, write = HOSTILE[kind]
    path = tmp_path / "theirs.pth"
    write(path)
    with pytest.raises(ModelError, match=message) as caught:
        export(str(path), out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [found.name for found in tmp_path.iterdir()] == ["theirs.pth"]


def test_weights_that_are_not_finite_are_said(tmp_path: Path) -> None:
    _saved("compact", tmp_path / "whole.pth")
    state = torch.load(tmp_path / "whole.pth")["params_ema"]
    torch.save({key: value * float("nan") for key, value in state.items()}, tmp_path / "nan.pth")
    with pytest.raises(ModelError, match="values that are not finite"):
        export(str(tmp_path / "nan.pth"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_refused_checkpoint_leaves_no_cache_or_folder(tmp_path: Path) -> None:
    """Libraries that training needs make some when they are imported, and none of them is for reading weights."""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    HOSTILE["code"][1](tmp_path / "theirs.pth")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "MPLCONFIG"))}
    places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    words = [sys.executable, "-m", "srdeploy", "export", str(tmp_path / "theirs.pth"), "-o", str(tmp_path / "work/out")]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env={**kept, **places})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert [path for name in ("home", "tmp", "work") for path in (tmp_path / name).rglob("*")] == []


@pytest.mark.parametrize("header", [b"{}", b'{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'])
def test_hostile_safetensors(header: bytes, tmp_path: Path) -> None:
    _architectures()
    path = tmp_path / "theirs.safetensors"
    for claimed in (len(header), 1 << 40):
        path.write_bytes(claimed.to_bytes(8, "little") + header)
        with pytest.raises(ModelError):
            export(str(path), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_cut_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    _saved("compact", tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for end in range(1, len(data), len(data) // 12):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            export(str(path), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
