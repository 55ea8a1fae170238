"""What a long computation shows of itself: bars on standard error, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tqdm import tqdm


@contextmanager
def training_bar(epochs: int, done: int, *, show: bool) -> Iterator[Callable[[float], None]]:
    """A bar of epochs. Yields a function to call after each, with the best accuracy so far.

    A training that stops early leaves a line that says so, instead of its bar.
    """
    with _bar("training", epochs, done, show=show) as bar:

        def advance(best: float) -> None:
            bar.set_postfix_str(f"best val_accuracy {best:.4f}", refresh=False)
            bar.update()

        yield advance
        if bar.n < epochs and not bar.disable:
            bar.leave = False
            note = f", {bar.postfix}" if bar.postfix else ""
            bar.write(f"training: stopped early after {bar.n} of {epochs} epochs{note}", bar.fp)


class SearchBar(AbstractContextManager["SearchBar"]):
    """A bar of trials, with the best accuracy, how many were remembered, and who is silent."""

    def __init__(self, total: int) -> None:
        self._bar = _bar("search", total)
        self._best, self._remembered = 0.0, 0
        self._silent: set[int] = set()

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    @property
    def total(self) -> int:
        return int(self._bar.total)

    def expect(self, trials: int) -> None:
        """So many trials are known by now to be part of the search."""
        self._bar.total = max(self._bar.total, trials)

    def advance(self, number: int, accuracy: float, *, remembered: bool) -> None:
        """A trial has ended."""
        self._silent.discard(number)
        self._best = max(self._best, accuracy)
        self._remembered += remembered
        self._show()
        self._bar.update()

    def silent(self, number: int, name: str) -> None:
        """A trial has given no sign of life for a while: named once, on a line of its own, because
        it would push the bar off the screen."""
        if number not in self._silent and not self._bar.disable:
            self._bar.write(f"search: no sign of life from {name}", self._bar.fp)
        self._silent.add(number)
        self._show()
        self._bar.refresh()

    def _show(self) -> None:
        counts = {"remembered": self._remembered, "silent": len(self._silent)}
        notes = [f"{count} {what}" for what, count in counts.items() if count]
        self._bar.set_postfix_str(", ".join([f"best {self._best:.4f}", *notes]), refresh=False)


def _bar(what: str, total: int, done: int = 0, *, show: bool = True) -> tqdm:
    """A bar that, with its notes, fits 80 columns."""
    return tqdm(
        total=total,
        initial=done,
        desc=f"{what:8}",
        bar_format="{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} "
        "[{elapsed}<{remaining}{postfix}]",
        dynamic_ncols=True,  # for windows that change
        # None: unless there is a terminal; a daemon has no standard error at all
        disable=None if show and sys.stderr else True,
    )
