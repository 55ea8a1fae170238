"""The write-up's claims, put to the test: on the grid, and on networks of the ladder.

`dvc repro studies/replication/dvc.yaml`, from the project's root; a plain `dvc repro` leaves it
alone.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from mlp.files import InputError
from stages.params import read
from stages.schema import Amount, Count, Part, Rate, Section, Size, check, items, whole

PARAMS = Path("studies/replication/params.yaml")
CONTROLS = Path("data/replication/controls")
REPORTS = Path("reports/replication")
SEARCH, LEARNT = REPORTS / "search.csv", REPORTS / "controls.csv"
FIRST_STEPS = REPORTS / "first_steps.csv"
LAYERS, NEURONS = REPORTS / "layers.csv", REPORTS / "neurons.csv"
PAGE = Path("docs/replication.md")
FIGURES = Path("docs/figures")

# The networks of the tables: two rungs of the ladder (the published configuration trained as
# published, and the recipe), the first of them on labels in random order, and before training
PUBLISHED, RECIPE, CONTROL, START = "published", "200-epochs", "control", "start"


def _with_one(scales: list[float]) -> list[float]:
    if 1 not in scales:
        raise ValueError("1 is to be compared with")
    return scales


Seeds = Annotated[int, whole(2, 100)]  # one has no spread
Scales = Annotated[
    list[Rate], items(2, 100, "numbers above 0, of which 1"), AfterValidator(_with_one)
]


class Winner(Section):
    hidden_size1: Size
    hidden_size2: Size
    lr: Rate
    l2_reg: Amount


class Published(Section):
    winner: Winner
    test_accuracy: Part


class FirstSteps(Section):
    scales: Scales
    seeds: Seeds
    epochs: Count


class Params(Section):
    search_seeds: Seeds
    control_seeds: Seeds
    first_steps: FirstSteps
    published: Published


def load() -> Params:
    """The study's params.yaml. Raises InputError as `stages.params.load` does."""
    try:
        return check(read(PARAMS), Params)
    except InputError as error:
        raise InputError(f"{PARAMS}: {error}") from error
