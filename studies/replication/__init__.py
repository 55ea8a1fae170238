"""The write-up's claims, put to the test.

`dvc repro studies/replication/dvc.yaml`, from the project's root, after the ladder; a plain
`dvc repro` leaves it alone.
"""

from pathlib import Path
from typing import Any

from mlp.files import InputError
from stages.params import read

PARAMS = Path("studies/replication/params.yaml")
DATA = Path("data/replication")
CONTROLS = DATA / "controls"
NEURONS, EXAMPLES = DATA / "claims/neurons.csv", DATA / "claims/examples.npz"
REPORTS = Path("reports/replication")
SEARCH, LEARNT = REPORTS / "search.csv", REPORTS / "controls.csv"
FIRST_STEPS, LAYERS = REPORTS / "first_steps.csv", REPORTS / "layers.csv"
DOCS = Path("docs")
PAGE, FIGURES = DOCS / "replication.md", DOCS / "figures"

# Rungs of the ladder: the published configuration trained as published, and the recipe
PUBLISHED, RECIPE = "published", "200-epochs"


def params(section: str) -> dict[str, Any]:
    """A section of params.yaml. Raises InputError if there is none."""
    value = read(PARAMS).get(section)
    if not isinstance(value, dict):
        raise InputError(f"{PARAMS}: {section}: a section is needed")
    return value
