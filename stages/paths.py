"""Where the pipeline's files are."""

from pathlib import Path

RAW = Path("data/raw")
TRAIN_IMAGES = RAW / "train-images-idx3-ubyte"
TRAIN_LABELS = RAW / "train-labels-idx1-ubyte"
TEST_IMAGES = RAW / "t10k-images-idx3-ubyte"
TEST_LABELS = RAW / "t10k-labels-idx1-ubyte"
TRIALS = Path("data/trials")  # not an output: a memory that may be deleted
PROCESSED = Path("data/processed")
MODEL = Path("data/model/best.npz")
TEST = Path("data/evaluation/test.npz")
MISTAKES = Path("data/evaluation/mistakes.npz")
EXAMPLES = Path("data/evaluation/examples.npz")

GRID_SEARCH = Path("reports/grid_search.csv")
BEST_PARAMS = Path("reports/best_params.json")
HISTORY = Path("reports/history.csv")
METRICS = Path("reports/metrics.json")
PER_CLASS = Path("reports/per_class.csv")
CONFUSION = Path("reports/confusion.csv")
WEIGHTS = Path("reports/weights.csv")
FIGURES = Path("reports/figures")
PAGE = Path("reports/index.html")
SPRITE = Path("reports/examples.png")  # beside the page, which shows parts of it
LADDER = Path("reports/ladder/ladder.png")  # which the study of that name draws
