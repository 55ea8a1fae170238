"""What a long computation shows of itself: bars on standard error, where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def training_bar(epochs: int, done: int, *, show: bool) -> Iterator[Callable[[float], None]]:
    """A bar of epochs. Yields a function to call after each, with the best accuracy so far."""
    with tqdm(
        total=epochs, initial=done, desc="training", unit="epoch", disable=None if show else True
    ) as bar:

        def advance(best: float) -> None:
            bar.set_postfix_str(f"best val_accuracy {best:.4f}", refresh=False)
            bar.update()

        yield advance


class SearchBar:
    """A bar of trials, with the best accuracy, how many were remembered, and who is silent."""

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, desc="search", unit="trial", disable=None)
        self._best, self._remembered = 0.0, 0
        self._silent: dict[int, str] = {}

    def __enter__(self) -> "SearchBar":
        return self

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
        self._silent.pop(number, None)
        self._best = max(self._best, accuracy)
        self._remembered += remembered
        self._show()
        self._bar.update()

    def silent(self, number: int, name: str) -> None:
        """A trial has given no sign of life for a while."""
        self._silent[number] = name
        self._show()
        self._bar.refresh()

    def _show(self) -> None:
        notes = [f"best {self._best:.4f}", f"remembered {self._remembered}"]
        notes += [f"no sign of life from {name}" for name in self._silent.values()]
        self._bar.set_postfix_str(", ".join(notes), refresh=False)
