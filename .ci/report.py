"""What a pull request changes, as CML's Markdown: `python .ci/report.py BASE FOLDER`, in a clone.

Compares the commit BASE with HEAD: `dvc metrics diff`, `dvc params diff`, and those plots of `dvc
plots diff` that are not the same. Writes report.md and the plots that it shows into FOLDER. What
Git holds is enough: neither data nor cache is needed.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import vl_convert


def dvc(*arguments: str) -> str:
    done = subprocess.run(
        ["dvc", *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True
    )
    return done.stdout.strip()


def changed(plots: list[dict[str, Any]], revisions: tuple[str, str]) -> list[bytes]:
    """A plot as a picture that overlays both revisions, or as the picture of each; nothing if
    they are the same."""
    if plots[0]["type"] == "vega":
        chart = plots[0]["content"]
        old, new = (rows(chart, revision) for revision in revisions)
        return [vl_convert.vegalite_to_png(chart, scale=1.5)] if old != new else []
    files = {plot["revisions"][0]: Path(plot["url"]) for plot in plots}
    pictures = [files[revision].read_bytes() for revision in revisions if revision in files]
    return pictures if len(pictures) == 1 or pictures[0] != pictures[1] else []


def rows(chart: dict[str, Any], revision: str) -> list[dict[str, Any]]:
    """The data of one revision that a chart shows: of a table's columns, those that it names."""
    named = json.dumps({name: value for name, value in chart.items() if name != "data"})
    found = [row for row in chart["data"]["values"] if row.get("rev") == revision]
    return [{k: v for k, v in row.items() if k in named and k != "rev"} for row in found]


def main(base: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    revisions = (base, "HEAD")
    lines = [f"# From `{base}` to here"]
    for kind in ("metrics", "params"):
        table = dvc(kind, "diff", *revisions, "--md")
        differ = len(table.splitlines()) > 2  # than the heads and the rule below them
        lines += [f"## {kind.capitalize()}", table if differ else f"No {kind} differ."]
    lines += ["## Plots"]
    number = 0
    with tempfile.TemporaryDirectory() as temporary:
        found = json.loads(dvc("plots", "diff", *revisions, "--json", "-o", temporary))
        for title, plots in found["data"].items():
            pictures = changed(plots, revisions)
            if pictures:
                lines += [f"### {title}" + (", before and after" if len(pictures) > 1 else "")]
            for picture in pictures:
                number += 1
                (folder / f"{number}.png").write_bytes(picture)
                lines += [f'![{title}](./{number}.png "{title}")']
    if not number:
        lines += ["No plots differ."]
    text = "\n\n".join(lines) + "\n"
    (folder / "report.md").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
