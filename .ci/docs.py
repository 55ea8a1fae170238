r"""Run the console blocks of README*.md and docs/, and write what they print into the pages.

    make docs                        all of them, in clones of HEAD: commit first
    python .ci/docs.py --check       the cheap ones; fails if they print something else

A block is ```console, with `$ ` before each command, which goes on after a `\` at the end of its
line. A comment on the line before it says more: `<!-- costly -->` that --check leaves it out,
`<!-- fails -->` that its last command is to fail. A block of any kind after `<!-- writes PATH -->`
becomes that file, for the commands after it; --check leaves it out. A translation, as
README.zh-CN.md is one of README.md, shows the blocks of its original, which are not run again.
Each page has a clone of its own, with the pipeline's results in it. A metric is written into the
text too: `<!-- test_accuracy -->90.00 %<!-- -->`.
"""

import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"(?:<!-- (?P<marks>[\w, ]+) -->\n)?```console\n(?P<text>.*?)^```$"
    r"|<!-- writes (?P<path>\S+) -->\n```\w+\n(?P<content>.*?)^```$",
    re.M | re.S,
)
COMMAND = re.compile(r"^\$ (.*(?:(?<=\\)\n.*)*)", re.M)
METRIC = re.compile(r"(<!-- (\w+)(?: (\d))? -->)[^<\n]*(<!-- -->)")
# What differs from run to run: hashes, times, DVC's names for experiments, how wide a table so is
VOLATILE = [
    (r"\b[0-9a-f]{7,64}\b", "HASH"),
    (r"\b[a-z]+-[a-z]+\b(?=[\]'])", "NAME"),
    (r"\b\d\d:\d\d(:\d\d)?( [AP]M)?\b|\b\w{3} \d\d, \d{4}\b", "TIME"),
    (r"\b\d+(\.\d+)? (s|min|h)\b", "TIME"),
    (r"[ \t─━]+", " "),
]
IDENTITY = {f"GIT_{role}_{key}": f"docs{mail}" for role in ("AUTHOR", "COMMITTER")
            for key, mail in {"NAME": "", "EMAIL": "@localhost"}.items()}  # fmt: skip
ENVIRON = {**os.environ, **IDENTITY, "COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"}


def call(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=ENVIRON, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def clone(folder: Path) -> None:
    """HEAD, with the pipeline's results: from this copy's cache, or else made now."""
    call("git", "clone", "--quiet", str(ROOT), str(folder), cwd=ROOT)
    call("git", "checkout", "--quiet", "-B", "main", cwd=folder)
    call("dvc", "cache", "dir", "--quiet", "--local", str(ROOT / ".dvc/cache"), cwd=folder)
    call("dvc", "repro", "--quiet", cwd=folder)
    if changed := call("git", "status", "--porcelain", cwd=folder):
        sys.exit(f"what is committed is not what dvc repro makes:\n{changed}")


def run(block: re.Match[str], folder: Path) -> str:
    """The block, with what its commands print today."""
    commands = COMMAND.findall(block["text"])
    script = "".join(f"{command}\nprintf '\\0%s\\0' $?\n" for command in commands)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    *printed, _ = done.stdout.split("\0")
    outputs, statuses = printed[::2], [int(status) for status in printed[1::2]]
    expected = [False] * (len(commands) - 1) + ["fails" in (block["marks"] or "")]
    if [status != 0 for status in statuses] != expected:
        sys.exit(f"{commands}: exit statuses {statuses}\n{done.stdout}")
    shown = ""
    for command, output in zip(commands, outputs, strict=True):
        lines = [line.rstrip() for line in output.strip("\n").splitlines()]
        shown += "\n".join([f"$ {command}", *lines, ""]) + "\n" * bool(lines)
    return shown.rstrip() + "\n"


def volatile(text: str) -> list[str]:
    for pattern, name in VOLATILE:
        text = re.sub(pattern, name, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def update(page: Path, folder: Path, cheap: bool) -> str:
    """The page with what its commands print today; of the costly ones what it said, if `cheap`.
    A translation with what its original says."""
    text = page.read_text(encoding="utf-8")
    metrics = json.loads((ROOT / "reports/metrics.json").read_text(encoding="utf-8"))
    original = page.with_name(f"{page.name.partition('.')[0]}.md")
    blocks = list(BLOCK.finditer(original.read_text(encoding="utf-8")))
    if (count := len(BLOCK.findall(text))) != len(blocks):
        sys.exit(f"{page.name} has {count} blocks of commands, {original.name} {len(blocks)}")
    shown = iter(blocks)

    def fill(block: re.Match[str]) -> str:
        if original != page:
            return next(shown)[0]
        if cheap and (block["path"] or "costly" in (block["marks"] or "")):
            return block[0]
        if not folder.exists():
            clone(folder)
        if block["path"]:
            (folder / block["path"]).write_text(block["content"], encoding="utf-8")
            return block[0]
        head = block[0].partition("```")[0]
        return f"{head}```console\n{run(block, folder)}```"

    def metric(mark: re.Match[str]) -> str:
        return f"{mark[1]}{100 * metrics[mark[2]]:.{mark[3] or 2}f} %{mark[4]}"

    return METRIC.sub(metric, BLOCK.sub(fill, text))


def main(check: bool) -> None:
    differs = False
    for page in sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")]):
        with tempfile.TemporaryDirectory() as folder:
            old, new = page.read_text(encoding="utf-8"), update(page, Path(folder, "copy"), check)
        name = str(page.relative_to(ROOT))
        if volatile(old) != volatile(new):
            differs = True
            print(*difflib.unified_diff(volatile(old), volatile(new), name, "today", "", "", 1),
                  sep="\n")  # fmt: skip
            if not check:
                page.write_text(new, encoding="utf-8")
    if check and differs:
        sys.exit("what the pages show is not what their commands print: make docs")


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    main(check=sys.argv[1:] == ["--check"])
