"""Train the search's winner, or what `train` in params.yaml puts in its place, to the end."""

from mlp.data import load_problem
from mlp.files import InputError, read_json
from mlp.recipe import Recipe, make_trainer
from mlp.trainer import DivergenceError
from stages import run
from stages.params import CONFIGURATION, Train, load
from stages.paths import BEST_PARAMS, HISTORY, MODEL, PROCESSED


def recipe_of(train: Train) -> Recipe:
    """The recipe that params.yaml asks for, `best` replaced by what the search found."""
    [winner] = read_json(BEST_PARAMS)
    chosen = {name: getattr(train, name) for name in CONFIGURATION}
    chosen = {name: winner[name] if value == "best" else value for name, value in chosen.items()}
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
        trainer.fit(
            recipe.epochs,
            patience=recipe.patience,
            on_epoch=lambda history: history.to_csv(HISTORY),
            progress=True,
        )
    except DivergenceError as error:
        raise InputError(str(error)) from error
    best = trainer.best_metrics
    trainer.model.metadata["best_metrics"] = best
    trainer.model.save_parameters(MODEL)
    print(f"best epoch {best['epoch']}: validation accuracy {best['val_accuracy']:.4f}")


if __name__ == "__main__":
    run(main)
