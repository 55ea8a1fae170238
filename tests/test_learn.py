"""docs/learn.md: code that it quotes is the module's, and worked numbers come out as they stand."""

import ast
import doctest
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("docs/*.md"))
LEARN = ROOT / "docs" / "learn.md"
QUOTE = re.compile(r"<!-- quote (\S+) (\S+) -->\n```python\n(.*?)^```$", re.M | re.S)
SESSION = re.compile(r"^```python\n(>>> .*?)^```$", re.M | re.S)


def source(path: str, name: str) -> str:
    """The text of a function or class of a module, by its dotted name, without indentation."""
    text = (ROOT / path).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        [node] = [child for child in node.body if getattr(child, "name", None) == part]
    return textwrap.dedent("".join(text.splitlines(True)[node.lineno - 1 : node.end_lineno]))


@pytest.mark.parametrize(
    ("path", "name", "quoted"),
    [
        pytest.param(*quote, id=quote[1])
        for page in PAGES
        for quote in QUOTE.findall(page.read_text(encoding="utf-8"))
    ],
)
def test_quoted_code_is_the_modules(path, name, quoted):
    assert quoted == source(path, name)


def test_worked_numbers():
    sessions = "\n".join(SESSION.findall(LEARN.read_text(encoding="utf-8")))
    test = doctest.DocTestParser().get_doctest(sessions, {}, LEARN.name, None, 0)
    assert test.examples
    report = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


def test_figures_are_those_that_the_pages_show():
    pages = (path.read_text(encoding="utf-8") for path in PAGES)
    shown = [figure for page in pages for figure in re.findall(r"\]\((figures/[\w.-]+)\)", page)]
    assert sorted(shown) == sorted(
        str(path.relative_to(LEARN.parent)) for path in LEARN.parent.glob("figures/*")
    )
