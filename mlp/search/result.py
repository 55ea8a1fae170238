"""What came of a recipe, and which recipe is the best."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlp.history import rank
from mlp.recipe import Recipe
from mlp.search.trial import NO_RESULT, Row


@dataclass
class Result:
    """What came of a recipe: a row for each seed, of the last list (rung, from 1) that it was in.

    `recipe` has the epochs of that rung.
    """

    recipe: Recipe
    rung: int
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(row["status"] == "ok" for row in self.rows)

    def summary(self) -> Row:
        """One row: the means of the metrics over the seeds, and the standard deviation of
        validation accuracy (0 for one seed).

        Its status is "ok" if that of all trials is, otherwise the first other one.
        """
        rows = sorted(self.rows, key=lambda row: row["seed"])
        metrics, std = NO_RESULT, 0.0
        if self.ok:
            metrics = {name: statistics.fmean(row[name] for row in rows) for name in NO_RESULT}
            std = statistics.stdev(row["val_accuracy"] for row in rows) if len(rows) > 1 else 0.0
        return {
            **self.recipe.hyper_parameters,
            "parameters": rows[0]["parameters"],
            "epochs": rows[0]["epochs"],
            "rung": self.rung,
            "seeds": len(rows),
            **metrics,
            "val_accuracy_std": std,
            "status": next((row["status"] for row in rows if row["status"] != "ok"), "ok"),
        }

    def rank(self) -> tuple[bool, float, float, int]:
        """Higher is better: validation accuracy, then lower loss, then fewer parameters."""
        summary = self.summary()
        return self.ok, *rank(summary), -summary["parameters"]


def winner(results: Sequence[Result]) -> Result | None:
    """The best of those that came to the last rung. None if none of them has a result."""
    last = max((result.rung for result in results), default=0)
    finished = [result for result in results if result.rung == last and result.ok]
    return max(finished, key=Result.rank, default=None)


def failures(results: Sequence[Result]) -> list[str]:
    """The statuses of the trials that failed (their processes died, say), which none can win."""
    statuses = [row["status"] for result in results for row in result.rows]
    return [status for status in statuses if status.startswith("failed")]
