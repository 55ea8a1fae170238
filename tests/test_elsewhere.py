"""Windows has less than POSIX: the stages run, to the same bytes, without what only POSIX has."""

from pathlib import Path

from project import Project

# A stage whose modules, and those of its workers, find `os` and `signal` as they are on Windows.
# Libraries have their own ways there, and keep what they need here.
STAGE = """
import builtins, os, runpy, signal, sys, types

MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX = {
    os: '''
        chown chroot ctermid fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg
        getpgid getpgrp getpriority getresuid getsid getuid killpg lchown lockf mkfifo mknod nice
        openpty pathconf posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev
        register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setgid setpgid
        setpriority setsid setuid statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4
        waitid O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK WNOHANG
    ''',
    signal: '''
        SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1
        SIGUSR2 alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt
        sigpending sigtimedwait sigwait sigwaitinfo
    ''',
}
LESS = {}
for module, names in POSIX.items():
    left = vars(module).keys() - set(names.split())
    LESS[module.__name__] = types.SimpleNamespace(**{name: vars(module)[name] for name in left})
LESS["os"].name = "nt"

def less(name, globals=None, *others, load=builtins.__import__, **more):
    importer = (globals or {}).get("__name__", "").partition(".")[0]
    if importer not in ("mlp", "stages", "__main__"):
        return load(name, globals, *others, **more)
    if name in MODULES:
        raise ImportError(f"{name} is POSIX's")
    if name in LESS:
        with open(os.environ["TAKEN_AWAY"], "a") as file:
            print(name, "of", globals["__name__"], file=file)
    return LESS.get(name) or load(name, globals, *others, **more)

builtins.__import__ = less
runpy.run_module(sys.argv.pop(), run_name="__main__", alter_sys=True)
"""
STAGES = ("fetch", "preprocess", "grid-search", "train-best", "evaluate", "visualise")


def test_the_stages_run_without_what_only_posix_has(finished: Project, tmp_path: Path):
    project = finished.copy(tmp_path)
    taken_away = tmp_path / "taken away"
    project.call("rm", "-r", "data/trials", "reports", "data/model")
    for stage in STAGES:
        module = f"stages.{stage.replace('-', '_')}"
        project.call("python", "-c", STAGE, module, TAKEN_AWAY=str(taken_away), MLP_JOBS="2")
    assert project.call("git", "status", "--porcelain").stdout == ""
    assert taken_away.read_text().count("os of mlp.search.processes") == 3  # with its workers
