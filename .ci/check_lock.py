"""Whether dvc.lock is that of what Git holds: `make check-lock`, in seconds and without the data.

For each stage of each dvc.yaml, its command, its params, its sources and its committed reports must
be those of the lock, and what a stage has read must be what another has written. Prints a line for
each disagreement; the exit status is 1 if there is one.
"""

import sys
from collections.abc import Iterator

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.utils.fs import path_isin
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

STATES = {
    "modified": "is not what dvc.lock says",
    "deleted": "is missing",
    "new": "is not in dvc.lock",
}


def disagreements(repo: Repo) -> Iterator[str]:
    """What is wrong, a line each, stage by stage."""
    stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
    outs = [out for stage in stages for out in stage.outs]
    # what a clone has not: it is in DVC's cache, or nowhere
    elsewhere = [o.fs_path for o in outs if o.use_cache or repo.scm.is_ignored(o.fs_path)]
    readers: dict[str, Output] = {}
    for stage in stages:
        name = stage.addressing
        locked = stage.dvcfile.lockfile_contents.get("stages", {}).get(stage.name)
        if locked is None:
            yield f"{name}: is not in dvc.lock"
            continue
        if stage.cmd_changed:
            yield f"{name}: its command is not that of dvc.lock"
        for kind, entries in {"deps": stage.deps, "outs": stage.outs}.items():
            declared = {entry.def_path for entry in entries}
            for path in (entry["path"] for entry in locked.get(kind, ())):
                if path not in declared:
                    yield f"{name}: {path}: is among the {kind} of dvc.lock, but not of dvc.yaml"
        for entry in (*stage.deps, *stage.outs):
            if isinstance(entry, ParamsDependency):
                for state in entry.workspace_status().values():
                    params = {"": state} if isinstance(state, str) else state  # the file's, or each
                    for param, state in params.items():
                        path = f"{entry.def_path}: {param}" if param else entry.def_path
                        yield f"{name}: {path}: {STATES[state]}"
                continue
            if not entry.hash_info:
                yield f"{name}: {entry.def_path}: {STATES['new']}"
                continue
            if not any(_is_in(entry.fs_path, path) for path in elsewhere):
                for state in entry.workspace_status().values():
                    yield f"{name}: {entry.def_path}: {STATES[state]}"
            if entry in stage.outs:
                continue
            for out in outs:
                if _written(out, entry.fs_path) not in (None, entry.hash_info):
                    writer = out.stage.addressing
                    yield f"{name}: {entry.def_path}: is not what {writer} has written"
            other = readers.setdefault(entry.fs_path, entry)
            if other.hash_info != entry.hash_info:
                yield f"{name}: {entry.def_path}: is not what {other.stage.addressing} has read"
    for file in {stage.dvcfile.path: stage.dvcfile for stage in stages}.values():
        declared = {stage.name for stage in stages if stage.dvcfile.path == file.path}
        for name in file.lockfile_contents.get("stages", {}).keys() - declared:
            yield f"{name}: is in dvc.lock, but not in {file.relpath}"


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path_isin(path, folder)


def _written(out: Output, path: str) -> HashInfo | None:
    """The digest with which `out` wrote a path; None if it did not, or if the list of its files is
    with the data, and these are not here."""
    if out.fs_path == path:
        return out.hash_info or None
    if not (path_isin(path, out.fs_path) and out.use_cache):
        return None
    files = out.get_obj()
    if not isinstance(files, Tree):
        return None
    file = files.get_obj(out.cache, out.fs.relparts(path, out.fs_path))
    return file.hash_info if file else HashInfo()


def main() -> int:
    try:
        with Repo() as repo:
            found = [*disagreements(repo)]
            stages = len(repo.index.stages)
    except DvcException as error:
        found, stages = [str(error)], 0
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"dvc.lock agrees with what {stages} stages name")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
