"""Train the search's winner, or what `train` in params.yaml puts in its place, to the end."""

from mlp.data import load_dataset
from mlp.files import InputError, read_json
from mlp.trainer import DivergenceError, make_trainer
from stages import run
from stages.params import (
    CONFIGURATION,
    load,
)
from stages.paths import (
    BEST_PARAMS,
    HISTORY,
    MODEL,
    PROCESSED,
    PROCESSED_META,
)


def main() -> None:
    params = load()
    train = params.train
    [winner] = read_json(BEST_PARAMS)
    chosen = {name: getattr(train, name) for name in CONFIGURATION}
    config = {name: winner[name] if value == "best" else value for name, value in chosen.items()}
    meta = read_json(PROCESSED_META)
    normalisation = meta.pop("normalisation")  # the model file has it in its architecture
    trainer = make_trainer(
        config,
        load_dataset(PROCESSED, "train"),
        load_dataset(PROCESSED, "val"),
        classes=len(meta["classes"]),
        normalisation=normalisation,
        batch_size=train.batch_size,
        lr_decay=train.lr_decay,
        seed=params.base.seed,
    )
    print(trainer.model)
    try:
        trainer.fit(
            train.epochs,
            patience=train.patience,
            on_epoch=lambda history: history.to_csv(HISTORY),
            progress=True,
        )
    except DivergenceError as error:
        raise InputError(str(error)) from error
    settings = {"batch_size": train.batch_size, "lr_decay": train.lr_decay}
    best = trainer.best_metrics
    trainer.model.metadata = meta | {"hyper_parameters": config | settings, "best_metrics": best}
    trainer.model.save_parameters(MODEL)
    print(f"best epoch {best['epoch']}: validation accuracy {best['val_accuracy']:.4f}")


if __name__ == "__main__":
    run(main)
