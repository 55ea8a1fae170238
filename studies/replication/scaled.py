"""A training whose last layer starts with other weights."""

from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from mlp.data import Problem
from mlp.layers import Affine
from mlp.recipe import make_trainer
from mlp.search.trial import Row, Trial
from mlp.trainer import DivergenceError


@dataclass(frozen=True)
class Scaled(Trial):
    """A trial whose last layer's first weights are multiplied by `scale`. No journal knows it."""

    scale: float = 1.0

    def run(self, problem: Problem) -> Row:
        """Train. The row holds scale and seed, the mean cross-entropy of the validation images
        before the first step, in nats, their accuracy after the first epoch and after the best,
        and a status."""
        trainer = make_trainer(self.recipe, problem, seed=self.seed, train_metrics="running")
        last = trainer.model.layers[-1]
        assert isinstance(last, Affine)
        last.W *= self.scale
        with threadpool_limits(1, user_api="blas"):
            first_loss, _ = trainer.model.evaluate(*problem.val)
        try:
            history = trainer.fit(self.recipe.epochs)
        except DivergenceError as error:
            return self.failed(str(error))
        return {
            "scale": self.scale,
            "seed": self.seed,
            "first_loss": first_loss,
            "first_epoch": history["val_accuracy"][0],
            "val_accuracy": trainer.best_metrics["val_accuracy"],
            "status": "ok",
        }
