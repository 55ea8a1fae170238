"""Train the search's winner, or what `train` in params.yaml puts in its place, to the end."""

from mlp.data import load_problem
from mlp.files import InputError, atomic
from mlp.recipe import Recipe, make_trainer
from mlp.trainer import DivergenceError
from stages import run
from stages.params import CONFIGURATION, Train, load
from stages.paths import HISTORY, MODEL, PROCESSED
from stages.results import read_winner


def recipe_of(train: Train) -> Recipe:
    """The recipe that params.yaml asks for, `best` replaced by what the search found."""
    winner = read_winner()
    chosen = {name: getattr(train, name) for name in CONFIGURATION}
    chosen = {
        name: getattr(winner, name) if value == "best" else value for name, value in chosen.items()
    }
    return Recipe(
        hidden_sizes=(chosen.pop("hidden_size1"), chosen.pop("hidden_size2")),
        **chosen,
        lr_decay=train.lr_decay,
        batch_size=train.batch_size,
        epochs=train.epochs,
        patience=train.patience,
    )


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
    settings = {"batch_size": recipe.batch_size, "lr_decay": recipe.lr_decay}
    trainer.model.metadata = {
        "classes": problem.classes,
        "image_shape": problem.image_shape,
        "hyper_parameters": recipe.hyper_parameters | settings,
        "best_metrics": best,
    }
    # both are ready before either takes its place; between, there is a model without a history
    # rather than with that of another
    with atomic(HISTORY) as history, atomic(MODEL) as model:
        trainer.history.to_csv(history)
        trainer.model.save_parameters(model)
        HISTORY.unlink(missing_ok=True)
    print(f"best epoch {best['epoch']}: validation accuracy {best['val_accuracy']:.4f}")


if __name__ == "__main__":
    run(main)
