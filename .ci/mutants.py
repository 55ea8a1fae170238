"""Compare what `mutmut run` left behind with docs/testing.md.

Prints how many mutants were killed and which were not. Fails if they are fewer than 95 %, or if the
page does not name one that is left.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SURVIVED = {0, 5, 33}  # mutmut's codes: no test failed, or none runs the function
UNTESTED = {None, 2}  # it was interrupted
LEAST = 95


def named(page: str) -> set[tuple[str, int]]:
    """The mutants of the page's tables: | `module.function` | numbers | why |."""
    rows = re.findall(r"^\| `([\w.]+)` \| ([\d, ]+) \|", page, re.M)
    return {(name, int(n)) for name, numbers in rows for n in numbers.split(",")}


def mutant(key: str) -> tuple[str, int]:
    """mlp.layers.xǁReLUǁforward__mutmut_3 and mlp.layers.x__row_sums__mutmut_1 as the page says it:
    layers.ReLU.forward 3, layers._row_sums 1."""
    module, function, number = re.fullmatch(r"mlp\.(.+)\.x[_ǁ](.+)__mutmut_(\d+)", key).groups()
    return f"{module}.{function.replace('ǁ', '.')}", int(number)


def main() -> None:
    codes = {}
    for path in (ROOT / "mutants").rglob("*.meta"):
        codes |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    if not codes or any(code in UNTESTED for code in codes.values()):
        sys.exit("not all mutants were tried: run make mutants")
    left = {mutant(key) for key, code in codes.items() if code in SURVIVED}
    share = 100 * (1 - len(left) / len(codes))
    print(f"{len(codes) - len(left):,} of {len(codes):,} mutants killed: {share:.1f} %")
    unnamed = defaultdict(list)
    for name, number in sorted(left - named((ROOT / "docs/testing.md").read_text("utf-8"))):
        unnamed[name].append(number)
    for name, numbers in unnamed.items():
        print(f"  docs/testing.md does not name {name} {', '.join(map(str, numbers))}")
    sys.exit(bool(unnamed) or share < LEAST)


if __name__ == "__main__":
    main()
