"""Trials that are not: what an executor's workers are given in tests."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.search.trial import Trial


class OddError(Exception):
    """One that pickle takes and does not give back."""

    def __init__(self, text, number):
        super().__init__(f"a mistake of ours: {text} {number}")


@dataclass(frozen=True)
class Task(Trial):
    """Answers with its process and what `act` says; leaves a line in a file when it begins."""

    act: str = "answer"
    file: Path | None = None

    def run(self, problem):
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(f"{self.seed}\n")
        if self.act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.act == "exit":
            os._exit(3)
        if self.act == "die once" and self.file.read_text().split().count(str(self.seed)) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.act == "ask for much":
            np.empty(2**50)
        if self.act == "fail":
            raise KeyError("a mistake of ours")
        if self.act == "fail oddly":
            raise OddError("text", self.seed)
        if self.act == "fail unsendably":
            raise RuntimeError("a mistake of ours", os.scandir())
        if self.act == "die of a nameless signal":
            os.kill(os.getpid(), signal.SIGRTMIN + 1)
        if self.act == "print":
            print("noise on standard output", flush=True)
            os.write(1, b"and on its descriptor\n")
        if self.act == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.act == "sleep":
            time.sleep(600)
        return {"pid": os.getpid(), "status": "ok", "sum": float(problem.train.x.sum())}
