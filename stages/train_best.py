"""Train the search's winner, or what `train` in params.yaml puts in its place, to the end."""

from mlp.data import load_problem
from mlp.files import InputError, atomic
from mlp.recipe import Recipe, make_trainer
from mlp.trainer import DivergenceError
from stages import run
from stages.params import Train, load
from stages.paths import HISTORY, MODEL, PROCESSED
from stages.results import read_winner


def recipe_of(train: Train) -> Recipe:
    """The recipe that params.yaml asks for, `best` replaced by what the search found."""
    values, winner = {name: getattr(train, name) for name in Train.model_fields}, read_winner()
    values |= {name: getattr(winner, name) for name, value in values.items() if value == "best"}
    sizes = values.pop("hidden_size1"), values.pop("hidden_size2")
    return Recipe(hidden_sizes=sizes, **values)


def main() -> None:
    params = load()
    recipe = recipe_of(params.train)
    problem = load_problem(PROCESSED)
    trainer = make_trainer(recipe, problem, seed=params.base.seed)
    print(trainer.model)
    try:
        trainer.fit(recipe.epochs, patience=recipe.patience, progress=True)
    except DivergenceError as error:
        raise InputError(str(error)) from error
    best = trainer.best_metrics
    trainer.model.metadata["best_metrics"] = best
    # both are ready before either takes its place; between, there is a model without a history
    # rather than with that of another
    with atomic(HISTORY) as history, atomic(MODEL) as model:
        trainer.history.to_csv(history)
        trainer.model.save_parameters(model)
        HISTORY.unlink(missing_ok=True)
    print(f"best epoch {best['epoch']}: validation accuracy {best['val_accuracy']:.4f}")


if __name__ == "__main__":
    run(main)
