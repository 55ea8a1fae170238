"""What trains a search's trials: processes of this machine, or a cluster."""

import os
import re
from functools import partial

from mlp.files import InputError
from mlp.search.trial import Executor


def executor() -> Executor:
    """What trains: this machine's processes, or a cluster."""
    if address := os.environ.get("MLP_CLUSTER"):
        from mlp.search import cluster  # loads Dask

        return partial(cluster.train, address=address)
    from mlp.search import processes

    jobs = os.environ.get("MLP_JOBS", "-1")
    if not re.fullmatch("-1|[1-9][0-9]{0,3}", jobs):
        allowed = "a whole number from 1 up, or -1 for all cores"
        raise InputError(f"MLP_JOBS={jobs}: allowed is {allowed}")
    return partial(processes.train, jobs=int(jobs))
