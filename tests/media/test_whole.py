"""What is read back of a result decides: a frame, a time or a packet that is not as it should be is found."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from srdeploy.errors import OutputError
from srdeploy.media.whole import check_result

TIMES = [Fraction(n, 25) for n in range(10)]
END = Fraction(10, 25)


@pytest.fixture(scope="module", params=[".mp4", ".mkv"])
def result(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., None]
) -> Path:
    path: Path = tmp_path_factory.mktemp("result") / f"r{request.param}"
    codec = {".mp4": "aac", ".mkv": "pcm_s16le"}[request.param]  # in Matroska AAC would shift all
    picture, sound = "testsrc2=size=64x48:rate=25:duration=0.4", "sine=440:duration=0.4"
    ffmpeg(f"-f lavfi -i {picture} -f lavfi -i {sound} -c:a {codec} -bf 2", path)
    return path


def packets(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for p in container.demux(audio=0) if p.size)


def test_a_result_as_it_was_meant(result: Path) -> None:
    assert check_result(result, 0, TIMES, END, {1: packets(result)}, {1: "audio"}) == 0


@pytest.mark.parametrize(
    ("times", "end", "more", "kind", "message"),
    [
        (TIMES[:-1], END, 0, "audio", "10 frames where 9"),
        ([*TIMES, END], END + Fraction(1, 25), 0, "audio", "10 frames where 11"),
        ([*TIMES[:4], Fraction(17, 100), *TIMES[5:]], END, 0, "audio", "frame 4 at 0.1600 s"),
        (TIMES, END + Fraction(1, 50), 0, "audio", "an end at"),
        (TIMES, END, 1, "audio", "packets in stream 1"),
        (TIMES, END, 0, "subtitle", "audio as stream 1"),
    ],
)
def test_what_differs_is_said(
    times: list[Fraction], end: Fraction, more: int, kind: str, message: str, result: Path
) -> None:
    with pytest.raises(OutputError, match=message):
        check_result(result, 0, times, end, {1: packets(result) + more}, {1: kind})
