"""Found in place of the package `mlp` by a stage that is run by its path, and by nothing else:
says how it is run."""

import sys
from pathlib import Path

name = Path(sys.argv[0]).stem
print(f"{sys.argv[0]}: run it from the project's root, as python -m stages.{name}", file=sys.stderr)
sys.exit(2)
