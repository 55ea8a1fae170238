"""Rules that turn measurements into verdicts: "yes", "partly" or "no"."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

PATTERN = 0.1  # the correlation of neighbours from which an eye may see something
SETTINGS = ["hidden_size1", "hidden_size2", "lr", "l2_reg"]


class Verdict(NamedTuple):
    """A verdict, and the figures that it rests on."""

    word: str
    why: str


class Rank(NamedTuple):
    """Where a configuration of a search stands; accuracies in percent."""

    rank: int
    of: int
    best: str
    gap: float  # between the means of the best and of this one
    std: float  # of one training: pooled over the ten best
    noise: float  # twice the standard error of the gap
    ranks: list[int]  # with each seed alone


def spread(values: pd.Series, digits: int = 2) -> str:
    """Mean ± standard deviation."""
    std = values.std() if len(values) > 1 else 0.0
    return f"{values.mean():z.{digits}f} ± {std:.{digits}f}".replace("-", "−")


def above(one: pd.Series, other: pd.Series) -> bool:
    """Whether a mean is above another by more than two standard errors of their difference."""
    return bool(one.mean() - other.mean() > 2 * math.hypot(one.sem(), other.sem()))


def ranked(search: pd.DataFrame, claimed: dict[str, float]) -> Rank:
    """Where the configuration stands. Raises ValueError if the search does not have it."""
    good = search[search.status == "ok"]
    accuracy = 100 * good.set_index([*SETTINGS, "seed"]).val_accuracy.unstack("seed").dropna()
    means = accuracy.mean(axis=1).sort_values(ascending=False, kind="stable")
    place = tuple(claimed[name] for name in SETTINGS)
    if place not in means.index:
        raise ValueError(f"the search has no result of {place}")
    std = float(np.sqrt(accuracy.loc[means.index[:10]].var(axis=1).mean()))
    return Rank(
        rank=means.index.get_loc(place) + 1,
        of=len(search.drop_duplicates(SETTINGS)),
        best=", ".join(f"{value:g}" for value in means.index[0]),
        gap=means.iloc[0] - means[place],
        std=std,
        noise=2 * std * math.sqrt(2 / accuracy.shape[1]),
        ranks=[int(column.rank(ascending=False)[place]) for _, column in accuracy.items()],
    )


def winner(search: pd.DataFrame, claimed: dict[str, float]) -> Verdict:
    """Yes if it comes first, partly if noise may have kept it from that."""
    found = ranked(search, claimed)
    word = "yes" if found.rank == 1 else "partly" if found.gap <= found.noise else "no"
    distance = f", or {found.gap / found.std:.1f} standard deviations" if found.std else ""
    why = (
        f"rank {found.rank} of {found.of} by the mean over {len(found.ranks)} seeds, "
        f"{found.gap:.2f} points{distance} of one training, below the best ({found.best}); "
        f"two means differ by up to {found.noise:.2f} points by chance. "
        f"With each seed alone, ranks {', '.join(map(str, found.ranks))}"
    )
    return Verdict(word, why)


def accuracy(test: pd.Series, claimed: float, images: int = 10_000) -> Verdict:
    """Yes if what was published is within two standard deviations, of seeds and of test sets."""
    std = math.hypot(test.std(), math.sqrt(claimed * (1 - claimed) / images))
    difference = test.mean() - claimed
    word = "yes" if abs(difference) <= 2 * std else "no"
    direction = "above" if difference > 0 else "below"
    why = (
        f"{spread(100 * test)} % over {len(test)} seeds, {100 * abs(difference):.2f} points "
        f"{direction}; seeds and a test set of {images:,} images explain {200 * std:.2f}"
    )
    return Verdict(word, why)


def rising(layers: pd.DataFrame, name: str) -> int:
    """In how many networks a measure rises from each layer to the next."""
    table = layers.pivot(index="seed", columns="layer", values=name)
    return int((table.diff(axis=1).iloc[:, 1:] > 0).all(axis=1).sum())


def depth(layers: pd.DataFrame, first: str, second: str) -> Verdict:
    """Of a network's layers: yes if both measures rise with depth in each network, partly if one
    does, no if neither does."""
    networks = layers.seed.nunique()
    counts = {name: rising(layers, name) for name in (first, second)}
    whole = sum(count == networks for count in counts.values())
    word = {2: "yes", 1: "partly", 0: "no"}[whole]
    parts = []
    for name, count in counts.items():
        means = layers.groupby("layer")[name].mean()
        steps = " → ".join(f"{mean:z.3f}" for mean in means).replace("-", "−")
        parts.append(f"{LABELS[name]} {steps}, rising in {count} of {networks} networks")
    return Verdict(word, "; ".join(parts))


LABELS = {
    "near_zero": "share near zero",
    "excess_kurtosis": "excess kurtosis",
    "std": "standard deviation",
    "growth": "the same over that at the start",
}


def medians(neurons: pd.DataFrame, network: str, view: str) -> pd.Series:
    """The median of each network's |correlation| with what it resembles most."""
    rows = neurons[(neurons.network == network) & (neurons["view"] == view)]
    return rows.correlation.abs().groupby(rows.seed).median()


def garments(neurons: pd.DataFrame, network: str) -> Verdict:
    """Yes if neurons resemble garments more than both controls' do, partly if more than one's."""
    own, *others = (
        medians(neurons, name, "its weights") for name in (network, "controls", "start")
    )
    more = [above(own, other) for other in others]
    word = {2: "yes", 1: "partly", 0: "no"}[sum(more)]
    why = (
        f"median |r| {spread(own)}; with labels in random order {spread(others[0])}, "
        f"before the first step {spread(others[1])}"
    )
    return Verdict(word, why)


def no_pattern(neurons: pd.DataFrame, network: str) -> Verdict:
    """No if neighbours in a neuron's picture are alike; partly if they are not, but the neuron has
    a pattern when it is seen through layer 1; otherwise yes."""
    rows = neurons[(neurons.network == network) & (neurons.layer == 2)]
    alike = {view: group.groupby("seed").neighbours.mean() for view, group in rows.groupby("view")}
    own, shuffled = alike["through layer 1"], alike["in another order"]
    seen, *others = (
        medians(neurons, name, "through layer 1") for name in (network, "controls", "start")
    )
    pattern = own.mean() >= PATTERN and above(own, shuffled)
    hidden = all(above(seen, other) for other in others)
    why = (
        f"neighbours correlate by {spread(own, 3)}, with the neurons of layer 1 in another order "
        f"by {spread(shuffled, 3)}. Seen through layer 1, median |r| with garments {spread(seen)}; "
        f"with labels in random order {spread(others[0])}, before the first step "
        f"{spread(others[1])}"
    )
    return Verdict("no" if pattern else "partly" if hidden else "yes", why)


def smaller_start(steps: pd.DataFrame) -> Verdict:
    """Whether any smaller scale validates better than 1, by more than noise."""
    scores = dict(list(steps.groupby("scale").val_accuracy))
    better = [s for s, score in scores.items() if s != 1 and above(score, scores[1])]
    parts = [f"{spread(100 * scores[s])} % with {s:g}" for s in sorted(scores, reverse=True)]
    return Verdict("yes" if better else "no", "; ".join(parts))
