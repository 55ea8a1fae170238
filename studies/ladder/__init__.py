"""What each piece of the recipe is worth: one stage a rung, and the test set measured once.

`dvc repro studies/ladder/dvc.yaml`, from the project's root; a plain `dvc repro` leaves it alone.
"""

from pathlib import Path

from mlp.files import InputError
from mlp.recipe import Recipe
from stages.params import read

PARAMS = Path("studies/ladder/params.yaml")
OTHERS = Path("studies/ladder/others.csv")
SECONDS = Path("studies/ladder/seconds.csv")
DATA = Path("data/ladder")
SOFT_LABELS = DATA / "soft_labels.npy"
REPORTS = Path("reports/ladder")
MODELS, TABLE = REPORTS / "models.csv", REPORTS / "ladder.csv"
FIGURE, PAGE = REPORTS / "ladder.png", REPORTS / "README.md"

TEACHER, STUDENT, ENSEMBLE = "1024-1024", "distilled", "ensemble"
UNTAUGHT = "batch-norm"  # the student's network without a teacher


def rungs() -> dict[str, Recipe]:
    """The recipe of each rung, from the lowest to the highest. Raises InputError if one is none."""
    params = read(PARAMS)
    try:
        named = params["rungs"] | {STUDENT: params[STUDENT]}
        return {name: Recipe(**params["common"], **rung) for name, rung in named.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{PARAMS}: {type(error).__name__}: {error}") from error
    except InputError as error:
        raise InputError(f"{PARAMS}: {error}") from error


def seeds(rung: str) -> int:
    """How many networks of a rung are trained."""
    return int(read(PARAMS)["teachers" if rung == TEACHER else "seeds"])


def rows_file(rung: str) -> Path:
    """What validation says of the networks of a rung."""
    return REPORTS / "rungs" / f"{rung}.csv"


def model_files(rung: str) -> list[Path]:
    """The networks of a rung, by seed."""
    return sorted((DATA / rung).glob("*.npz"), key=lambda path: int(path.stem))
