"""Suites parse strictly, and come to the rows that they say."""

from pathlib import Path

import pytest

from srdeploy import zoo
from srdeploy.bench.suite import FOLDER, Row, load_suite, parse_size, rows
from srdeploy.errors import RecipeError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "benchmarks").glob("*.toml")), ids=lambda p: p.stem)
def test_the_suites_of_the_repository(path: Path) -> None:
    suite = load_suite(path)
    found = rows(suite)
    assert len(found) == len(set(found)), "a row is measured once"
    assert found or suite.parity
    assert {row.model for row in found if not row.peer} <= set(zoo.names())
    assert all(Path(row.file).is_file() for row in found if row.file not in ("", FOLDER))
    assert suite.limit_s < (600 if path.stem == "cpu" else 1800)


def _suite(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text('name = "t"\n' + text)
    return path


def test_every_combination_is_a_row(tmp_path: Path) -> None:
    text = '[[network]]\nmodels = ["a", "b"]\nsizes = ["30x20", "60x40"]\nthreads = [1, 2]\nbatch = [1, 4]\n'
    found = rows(load_suite(_suite(tmp_path, text)))
    assert len(found) == 16
    assert found[0] == Row("network", "auto", "a", "fp32", "auto", 20, 30, 1, 1)
    peers = '[[peers]]\npeers = ["ncnn", "ffmpeg xbr"]\nmodels = ["a", "b"]\nfile = "clip.mp4"\n'
    found = rows(load_suite(_suite(tmp_path, peers)))
    assert [(row.kind, row.backend, row.model) for row in found] == [
        ("video", "ffmpeg", "xbr"),
        ("network", "ncnn", "a"),
        ("network", "ncnn", "b"),
    ]
    assert found[0].file == str(tmp_path / "clip.mp4")


def test_many_sizes_have_one_size_beside_them(tmp_path: Path) -> None:
    found = rows(load_suite(_suite(tmp_path, '[[sizes]]\nmodels = ["a"]\ncount = 9\n')))
    assert [(row.kind, row.batch, row.sizes) for row in found] == [("sizes", 9, 9), ("sizes", 9, 1)]
    both = rows(load_suite(_suite(tmp_path, '[[sizes]]\nmodels = ["a"]\nthrough = ["arrays", "files"]\n')))
    assert [(row.sizes, row.file) for row in both] == [(100, ""), (1, ""), (100, FOLDER), (1, FOLDER)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[network]]\nmodel = ['a']", "unknown key 'model'"),
        ("[network]\nmodels = ['a']", "network must be a list"),
        ("[[network]]\nsizes = ['big']", "no size"),
        ("[[network]]\nsizes = ['0x10']", "not 1 to 16384"),
        ("[[network]]\nthreads = [1000]", "threads is 1000"),
        ("[[network]]\nprecisions = ['fp8']", "choose one of"),
        ("[[peers]]\npeers = ['magic']", "choose one of"),
        ("[[peers]]\npeers = ['ffmpeg xbr']", "enlarges files"),
        ("[[peers]]\npeers = ['ncnn']\nscale = 5", "scale is 5"),
        ("[[peers]]\npeers = ['ncnn']\ndevice = 'cuda'", "fp32 on the CPU only"),
        ("[[peers]]\npeers = ['bare ort']\nprecisions = ['fp16']", "fp32 and int8 on the CPU only"),
        ("[[peers]]\npeers = ['pytorch']\nprecisions = ['int8']", "fp32 and fp16 only"),
        ("[[sizes]]\ncount = 1", "count is 1"),
        ("[[network]]\nsizes = []", "a list in it is empty"),
        ("[[peers]]\npeers = []", "a [[peers]] table measures nothing"),
        ("[parity]\nsets = []\ninstead = 'x'", "sets is empty"),
        ("speed = 1", "known here: name, limit_s, narrow, quality, network, sizes, video, peers, parity"),
        ("[[video]]\nmodels = ['a']", "'file' is missing"),
        ("limit_s = 0\n[[network]]", "limit_s is 0"),
        ("", "measures nothing"),
        ("[[network]", "not a readable TOML"),
    ],
)
def test_wrong_suites_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=r"suite\.toml") as caught:
        load_suite(_suite(tmp_path, text))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert "parity, folder" not in str(caught.value), "that is no key"


def test_sizes_are_written_as_videos_are() -> None:
    assert parse_size("480x270") == (270, 480)


def test_an_engine_alone_takes_its_turn_behind_our_session_on_it(tmp_path: Path) -> None:
    text = """
[[network]]
models = ["a", "b"]
precisions = ["fp32", "int8"]
backends = ["ort", "openvino"]
device = "cpu"
[[peers]]
peers = ["bare openvino", "opencv", "bare ort"]
models = ["b"]
"""
    found = rows(load_suite(_suite(tmp_path, text)))
    names = [f"{row.backend} {row.model} {row.precision}" for row in found]
    assert names[4:] == [
        *("ort b fp32", "bare ort b fp32", "openvino b fp32", "bare openvino b fp32", "ort b int8", "openvino b int8"),
        "opencv b fp32",
    ]
