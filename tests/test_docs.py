"""make docs: commands' outputs in the pages, and the check that they are still those."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT, Project

PAGE = """# Page
<!-- test_accuracy -->?<!-- -->

```console
$ echo one; sleep 0
old
$ git rev-parse HEAD
```

<!-- costly -->
```console
$ touch costly; echo costly
```

<!-- fails -->
```console
$ echo 'no such thing' >&2; false
```

<!-- writes words.txt -->
```text
$ two \\
words
```
"""
WRITTEN = """
```console
$ cat \\
    words.txt
```
"""


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    project = finished.copy(tmp_path)
    (project.folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/docs.py", project.folder / ".ci/docs.py")
    (project.folder / "README.md").write_text(PAGE)
    project.call("git", "add", "-A")
    project.call("git", "commit", "-qm", "docs")
    return project


def test_outputs_are_written_and_checked(project: Project):
    page = project.folder / "README.md"
    done = project.call("python", ".ci/docs.py", "--check", status=1)
    assert "-old" in done.stdout
    assert page.read_text() == PAGE
    project.call("python", ".ci/docs.py")
    text = page.read_text()
    assert re.search(r"\$ echo one; sleep 0\none\n\n\$ git rev-parse HEAD\n[0-9a-f]{40}\n```", text)
    assert "echo costly\ncostly\n```" in text
    assert "false\nno such thing\n```" in text
    assert re.search(r"<!-- test_accuracy -->\d+\.\d\d %<!-- -->", text)
    assert not (project.folder / "costly").exists()
    page.write_text(re.sub("[0-9a-f]{40}", "0" * 40, text).replace("\ncostly\n", "\nleft out\n"))
    project.call("python", ".ci/docs.py", "--check")


def test_a_command_that_fails_unsaid_ends_it(project: Project):
    page = project.folder / "README.md"
    page.write_text(PAGE.replace("<!-- fails -->\n", ""))
    done = project.call("python", ".ci/docs.py", status=1)
    assert "no such thing" in done.stderr


def test_a_translation_shows_what_its_original_does(project: Project):
    (project.folder / "README.zh.md").write_text(PAGE.replace("# Page", "# 页"))
    project.call("python", ".ci/docs.py")
    pages = [(project.folder / name).read_text() for name in ("README.md", "README.zh.md")]
    assert pages[1] == pages[0].replace("# Page", "# 页")
    (project.folder / "README.zh.md").write_text(pages[1].replace("echo costly", "echo other"))
    assert "+$ touch costly" in project.call("python", ".ci/docs.py", "--check", status=1).stdout


def test_a_page_writes_files_for_the_commands_after_it(project: Project):
    page = project.folder / "README.md"
    page.write_text(PAGE + WRITTEN)
    project.call("python", ".ci/docs.py")
    assert page.read_text().endswith("$ cat \\\n    words.txt\n$ two \\\nwords\n```\n")
    assert not (project.folder / "words.txt").exists()


def test_the_library_examples_run(tmp_path):
    blocks = [part.split("```")[0] for part in read("docs/library.md").split("```python\n")[1:]]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks)],
        cwd=tmp_path,
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(done.stdout.split()[-1]) > 0.8  # accuracy of the search's winner


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


BLOCK = re.compile(r"^(?:<!-- \w+ -->\n)?```(\w+)\n(.*?)^```$", re.M | re.S)


def prose(text: str) -> str:
    return BLOCK.sub("", text)


def blocks(text: str) -> list[str]:
    """Console blocks as they are, others without their comments, which are translated."""
    return [
        block[0] if block[1] == "console" else re.sub(r" +# .*", "", block[0])
        for block in BLOCK.finditer(text)
    ]


# What a translation has in common with its original
COMMON = {
    "headings": lambda text: re.findall(r"^#+(?= )", prose(text), re.M),
    "blocks": blocks,
    "numbers of tables": lambda text: [
        (line.count("|"), re.findall(r"\d+(?:[.,]\d+)*", line))
        for line in re.findall(r"^\|.*\|$", prose(text), re.M)
    ],
    "links": lambda text: sorted(re.findall(r"\]\((?!README)(.*?)\)", prose(text))),
    "code": lambda text: sorted(re.findall(r"`([^`\n]+)`", prose(text))),
    "metrics": lambda text: re.findall(r"<!-- \w+ -->.*?<!-- -->", text),
}


@pytest.mark.parametrize("what", COMMON)
def test_the_translation_is_of_this_readme(what: str):
    original, translation = (COMMON[what](read(name)) for name in ("README.md", "README.zh-CN.md"))
    assert original
    assert translation == original


def test_each_readme_begins_with_a_link_to_the_other():
    for name, other in (("README.md", "README.zh-CN.md"), ("README.zh-CN.md", "README.md")):
        assert f"]({other})" in "".join(read(name).splitlines()[:4])


def test_own_project_is_read_at_one_sitting():
    assert len(read("docs/own-project.md").splitlines()) <= 150


def test_readme_is_short():
    assert len(read("README.md").splitlines()) <= 200
