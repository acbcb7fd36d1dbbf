"""`srdeploy compare`: before and after, on a page for the browser."""

from typing import Annotated

import typer

from srdeploy.cli.answer import expected_errors, note, print_json, say
from srdeploy.cli.options import Json, path_of


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A picture, a folder or a video.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another of the same kind, of any size.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="FILE.html", help="The page.")] = "comparison.html",
    at: Annotated[float, typer.Option("--at", min=0, help="Of videos: seconds from the start.")] = 0.0,
    frames: Annotated[int, typer.Option("--frames", min=1, max=200, help="Of videos: how many frames.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Make one page that shows two pictures, folders or videos with a slider between them; it needs no network.

    Example: srdeploy compare owl.png owl_x4.png -o owl.html
    """
    with expected_errors(as_json):
        from srdeploy.errors import OutputError
        from srdeploy.page.document import write_page
        from srdeploy.page.pairs import MOST, matched, pairs_of

        one, other, page = path_of(a, "A"), path_of(b, "B"), path_of(out, "-o")
        if page.suffix.lower() not in (".html", ".htm"):
            raise OutputError(f"{page} is no name of a page; type -o with .html, such as {page.with_suffix('.html')}")
        if one.is_dir() and other.is_dir() and (found := len(matched(one, other))) > MOST:
            note(f"note: the first {MOST} of {found} pairs are shown")
        shown = write_page(page, pairs_of(one, other, at, frames), (one.name, other.name), overwrite)
        if as_json:
            print_json({"page": str(page), "pairs": [pair.numbers() for pair in shown]})
            return
        first = shown[0]
        what = "1 pair" if len(shown) == 1 else f"{len(shown)} pairs, the first"
        similarity = "" if first.ssim_y is None else f", SSIM {first.ssim_y:.4f}"
        say(f"{page}: {what}: PSNR {first.psnr_y:.2f} dB{similarity} on luma; open it in a browser")
