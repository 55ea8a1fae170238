"""What each piece of the recipe is worth: one stage a rung, and the test set measured once.

`dvc repro studies/ladder/dvc.yaml`, from the project's root; a plain `dvc repro` leaves it alone.
"""

from pathlib import Path

from mlp.files import InputError, short
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
MOST = 100  # networks of a rung
UNTAUGHT = "batch-norm"  # the student's network without a teacher


def rungs() -> dict[str, Recipe]:
    """The recipe of each rung, from the lowest to the highest. Raises InputError if one is none."""
    try:
        params = read(PARAMS)
        named = params["rungs"] | {STUDENT: params[STUDENT]}
        return {name: Recipe(**params["common"], **rung) for name, rung in named.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{PARAMS}: {type(error).__name__}: {error}") from error
    except InputError as error:
        raise InputError(f"{PARAMS}: {error}") from error


def seeds(rung: str) -> int:
    """How many networks of a rung are trained. Raises InputError if that is no such number."""
    name = "teachers" if rung == TEACHER else "seeds"
    count = read(PARAMS).get(name)
    if type(count) is not int or not 1 <= count <= MOST:
        raise InputError(
            f"{PARAMS}: {name}: {short(count)}; allowed is a whole number from 1 to {MOST}"
        )
    return count


def rows_file(rung: str) -> Path:
    """What validation says of the networks of a rung."""
    return REPORTS / "rungs" / f"{rung}.csv"


def model_files(rung: str) -> list[Path]:
    """The networks of a rung, by seed. Raises FileNotFoundError if there are none."""
    files = [path for path in (DATA / rung).glob("*.npz") if path.stem.isdecimal()]
    if not files:
        raise FileNotFoundError(f"{DATA / rung}: no networks")
    return sorted(files, key=lambda path: int(path.stem))
