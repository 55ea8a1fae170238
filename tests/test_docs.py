"""make docs: commands' outputs in the pages, and the check that they are still those."""

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


def test_the_library_example_runs():
    code = (ROOT / "docs/library.md").read_text(encoding="utf-8").split("```python\n")[1]
    subprocess.run([sys.executable, "-c", code.split("```")[0]], cwd=ROOT, check=True)


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
