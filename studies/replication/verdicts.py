"""Rules that turn measurements into verdicts: "yes", "partly" or "no"."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, NamedTuple

import pandas as pd

from stages.params import SEARCHED
from studies.replication import CONTROL, START

IMAGES = 10_000  # of the test set
PATTERN = 0.1  # correlation of neighbours, above that of all but few pictures of noise of 16 × 16


class Verdict(NamedTuple):
    """A verdict, and the figures that it rests on."""

    word: str
    why: str


class Place(NamedTuple):
    """Where a configuration of a search stands; accuracies in percent."""

    rank: int
    of: int
    best: str
    gap: float  # from its mean over the seeds up to the best one
    std: float  # of one training: pooled over the ten best
    noise: float  # what the best of so many equals leads one of them by, in 19 of 20 searches
    ranks: list[int]  # with each seed alone


def spread(values: pd.Series, digits: int = 2) -> str:
    """Mean ± standard deviation."""
    return f"{values.mean():z.{digits}f} ± {values.std():.{digits}f}".replace("-", "−")


def above(one: pd.Series, other: pd.Series) -> bool:
    """Whether a mean is above another by more than two standard errors of their difference."""
    return bool(one.mean() - other.mean() > 2 * math.hypot(one.sem(), other.sem()))


def lead(std: float, seeds: int, others: int) -> float:
    """What the best of so many others leads an equal by, at most, in 19 of 20 cases: by the mean
    over the seeds of figures with a standard deviation. Bonferroni's bound."""
    return NormalDist().inv_cdf(1 - 0.05 / max(1, others)) * std * math.sqrt(2 / seeds)


def accuracies(search: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracies in percent: a row a configuration, from the best mean on, and a column
    a seed. Those that diverged are left out."""
    good = search[search.status == "ok"].set_index([*SEARCHED, "seed"])
    table = 100 * good.val_accuracy.unstack("seed").dropna()
    return table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]


def place(search: pd.DataFrame, claimed: Mapping[str, Any]) -> Place:
    """Where a configuration stands. Raises ValueError if the search has no result of it."""
    table = accuracies(search)
    setting = tuple(claimed[name] for name in SEARCHED)
    if setting not in table.index:
        raise ValueError(f"the search has no result of {', '.join(f'{v:g}' for v in setting)}")
    rank = table.index.get_loc(setting)
    std = math.sqrt(table[:10].var(axis=1).mean())
    return Place(
        rank=rank + 1,
        of=len(search.drop_duplicates([*SEARCHED])),
        best=", ".join(f"{value:g}" for value in table.index[0]),
        gap=float(table.iloc[0].mean() - table.iloc[rank].mean()),
        std=std,
        noise=lead(std, table.shape[1], len(table) - 1),
        ranks=[int(table[seed].rank(ascending=False, method="min").iloc[rank]) for seed in table],
    )


def winner(found: Place) -> Verdict:
    """Yes if it comes first, partly if noise may have kept it from that."""
    word = "yes" if found.rank == 1 else "partly" if found.gap <= found.noise else "no"
    distance = f", {found.gap:.2f} points below the best" if found.rank > 1 else ""
    return Verdict(word, f"rank {found.rank} of {found.of}{distance}")


def accuracy(test: pd.Series, claimed: float) -> Verdict:
    """Yes if the claim is within two standard deviations, of seeds and of test sets."""
    std = math.hypot(test.std(), math.sqrt(claimed * (1 - claimed) / IMAGES))
    word = "yes" if abs(test.mean() - claimed) <= 2 * std else "no"
    return Verdict(word, f"{spread(100 * test)} %")


def rising(layers: pd.DataFrame, measure: str) -> int:
    """In how many networks a measure rises from each layer to the next."""
    table = layers.pivot(index="seed", columns="layer", values=measure)
    return int((table.diff(axis=1).iloc[:, 1:] > 0).all(axis=1).sum())


def depth(layers: pd.DataFrame, measures: Mapping[str, str]) -> Verdict:
    """Yes if each of the measures, by their columns, rises with depth in each network, no if none
    does, and partly otherwise."""
    networks = layers.seed.nunique()
    counts = {name: rising(layers, column) for column, name in measures.items()}
    whole = [count == networks for count in counts.values()]
    word = "yes" if all(whole) else "partly" if any(whole) else "no"
    parts = (f"{name} rises in {count} of {networks} networks" for name, count in counts.items())
    return Verdict(word, ", ".join(parts))


def medians(neurons: pd.DataFrame, network: str, view: str) -> pd.Series:
    """Of each network, its neurons' median |r| with what they resemble most."""
    return neurons.r50[(neurons.network == network) & (neurons["view"] == view)]


def resemblance(neurons: pd.DataFrame, network: str, view: str) -> Verdict:
    """Yes if neurons resemble garments more than both controls' do, partly if more than one's."""
    own, *others = (medians(neurons, name, view) for name in (network, CONTROL, START))
    more = sum(above(own, other) for other in others)
    learnt, start = (f"{other.mean():.2f}" for other in others)
    why = f"median of r {spread(own)}; {learnt} with random labels, {start} untrained"
    return Verdict(("no", "partly", "yes")[more], why)


def no_pattern(neurons: pd.DataFrame, network: str) -> Verdict:
    """No if neighbours in the pictures of layer 2's weights are alike; if not, partly if these
    neurons resemble garments when they are seen through layer 1, and otherwise yes."""
    rows = neurons[(neurons.network == network) & (neurons["view"] == "layer 2")]
    seen = resemblance(neurons, network, "layer 2 through layer 1")
    word = "partly" if seen.word == "yes" else "yes"
    if rows.neighbours.mean() >= PATTERN:
        word = "no"
    why = f"neighbours correlate by {spread(rows.neighbours)}; through layer 1, {seen.why}"
    return Verdict(word, why)


def best_scale(steps: pd.DataFrame) -> tuple[float, float, float]:
    """The scale of a network's first weights, other than 1, that validates best; by how many points
    it does so better than 1; and what the best of so many equals leads 1 by at most. The standard
    deviation is pooled over the scales."""
    table = 100 * steps.pivot(index="scale", columns="seed", values="val_accuracy")
    gain = (table.mean(axis=1) - table.loc[1].mean()).drop(1)
    noise = lead(math.sqrt(table.var(axis=1).mean()), table.shape[1], len(gain))
    return float(gain.idxmax()), float(gain.max()), noise
