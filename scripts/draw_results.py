"""Draw the tables and pictures of README.md, train/README.md and the model cards from the committed reports.

    python3 scripts/draw_results.py            write them
    python3 scripts/draw_results.py --check    exit 1 if one differs from its reports (a test does this)

A table stands between `<!-- results: KIND -->` and `<!-- end -->`. Those of speed and parity are in draw_reports.py.
Nothing need be installed.
"""

import csv
import json
import re
import sys
import tomllib
from pathlib import Path

import draw_reports

REPOSITORY = Path(__file__).resolve().parent.parent
QUALITY = REPOSITORY / "benchmarks" / "reports" / "quality"
SETS = ("set5", "set14", "b100")


def score(stem: str) -> str:
    """PSNR in dB and SSIM on the three sets, as table cells."""
    cells = []
    for name in SETS:
        mean = json.loads((QUALITY / f"{stem}.{name}.json").read_text(encoding="utf-8"))["mean"]
        cells.append(f"{mean['psnr_y']:.2f} / {mean['ssim_y']:.4f}")
    return " | ".join(cells)


def models() -> list[str]:
    """Names of the models that ship."""
    return sorted(path.stem for path in (REPOSITORY / "export").glob("*.toml"))


def all_models() -> str:
    """One row for each shipped model, and bicubic: what it takes and what it gives."""
    rows = ["| | parameters | multiply-adds, G | Set5 | Set14 | B100 | ms, fp32 | ms, int8 |", "|---" * 8 + "|"]
    costs = draw_reports.costs()
    for scale in (2, 3, 4):
        rows.append(f"| bicubic x{scale} | – | – | {score(f'bicubic-x{scale}')} | – | – |")
        for name in models():
            if name.endswith(f"x{scale}"):
                work, time = costs(name)
                rows.append(f"| `{name}` | {work} | {score(f'{name}.fp32')} | {time} |")
    return "\n".join(rows)


def one_model(name: str) -> str:
    """The rows of a card: each precision's own file, and bicubic."""
    rows = ["| | Set5 | Set14 | B100 |", "|---|---|---|---|"]
    recipe = tomllib.loads((REPOSITORY / "export" / f"{name}.toml").read_text(encoding="utf-8"))
    precisions = recipe["precisions"] + (["int8-trt"] if "int8" in recipe["precisions"] else [])
    rows += [f"| `{name}.{precision}.onnx` | {score(f'{name}.{precision}')} |" for precision in precisions]
    rows.append(f"| bicubic | {score(f'bicubic-x{name[-1]}')} |")
    return "\n".join(rows)


def training() -> str:
    """What each run cost and reached, from its log."""
    rows = ["| recipe | steps | minutes | best held-out PSNR, dB | curve |", "|---|---|---|---|---|"]
    for name in models():
        with (REPOSITORY / "train" / "runs" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            log = list(csv.DictReader(file))
        best = max(float(row["psnr_db"]) for row in log)
        minutes = float(log[-1]["seconds"]) / 60
        rows.append(
            f"| `{name}.toml` | {int(log[-1]['step']):,} | {minutes:.0f} | {best:.2f} "
            f"| [png](runs/{name}.png) [csv](runs/{name}.csv) |"
        )
    return "\n".join(rows)


def drawn(text: str, name: str) -> str:
    """The text with each of its tables drawn again."""
    tables = {"models": all_models, "training": training, "card": lambda: one_model(name)}
    tables |= {
        kind: getattr(draw_reports, kind)
        for kind in ("speed", "video", "peers", "parity", "cluster", "memory", "alarms", "figures")
    }

    def table(match: re.Match[str]) -> str:
        return f"<!-- results: {match[1]} -->\n\n{tables[match[1]]()}\n\n<!-- end -->"

    return re.sub(r"<!-- results: (\w+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


def main() -> int:
    wrong = []
    drawings = draw_reports.pictures()
    pages = [
        REPOSITORY / name
        for name in (
            "README.md",
            "train/README.md",
            "docs/models.md",
            "docs/cluster.md",
            "docs/exact.md",
            "benchmarks/README.md",
        )
    ]
    for page in [*pages, *(REPOSITORY / "export" / f"{name}.md" for name in models())]:
        drawings[page] = drawn(page.read_text(encoding="utf-8"), page.stem)
    for page, after in drawings.items():
        before = page.read_text(encoding="utf-8") if page.is_file() else ""
        if after != before:
            wrong.append(page.relative_to(REPOSITORY).as_posix())
            if "--check" not in sys.argv:
                page.write_text(after, encoding="utf-8")
    if wrong and "--check" in sys.argv:
        print(f"error: {', '.join(wrong)} differ from the reports; type: python3 scripts/draw_results.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
