"""Reading traces in parallel on Dask: in processes of this machine, or on a cluster that exists.

Dask runs what its clients send, so a cluster is as private as its network. The local one listens on the loopback address only,
and every connection to it is encrypted and needs a certificate that is made for this run and never leaves its memory: another user
of the machine cannot use it. Dask's own dashboard is off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from profiler.errors import MissingToolError, ProfilerError, UsageError
from profiler.files import private_folder
from profiler.fleet.code import code_digest
from profiler.fleet.measure import Broken, Task, TraceFigures, measure, out_of_memory

if TYPE_CHECKING:
    from distributed import Client

INSTALL = 'pip install "tensorrt-evidence[fleet]"'
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError)  # one and the same from Python 3.11 on
_CONNECT_S = 10.0
_WAIT_S = 5.0
_NO_WORKERS_S = 60.0
_MEMORY_SHARE = 0.8
_MIN_WORKER_BYTES = 256 << 20
# one trace at a time a process; a worker that dies is not tried again with the same trace on the next; no pages, no dashboard
_CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.admin.tick.limit": "1h",
    # a machine that is busy, and a worker that is deep in a large trace, answer late and are not lost
    "distributed.comm.timeouts.connect": "120s",
    "distributed.comm.timeouts.tcp": "300s",
    "distributed.scheduler.worker-ttl": None,
    "logging": {"distributed": "critical"},
}


@dataclass(frozen=True)
class Cluster:
    """Where traces are read.

    Attributes:
        at_once: how many traces are read at the same time.
        workers: addresses of those that may be used; None: all.
        how: for the result's provenance; without addresses.
        notes: what the user should know.
    """

    client: Client
    at_once: int
    workers: tuple[str, ...] | None
    how: dict[str, Any]
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def local(traces: int, workers: int | None, memory_limit: int | None) -> Iterator[Cluster]:
    """Worker processes on this machine; they and their scratch space are gone when the block ends.

    Args:
        traces: how many there are to read; no more workers than that are started.
        workers: processes; None: one a CPU that this process may use.
        memory_limit: bytes for each; a worker that needs more is ended, and its trace reported. None: an equal part of 80 %
            of the memory of this machine (of this control group).

    Raises:
        MissingToolError: Dask is not installed.
    """
    _require()
    import dask  # noqa: PLC0415 - slow to import, and only this verb needs it
    from distributed import Client, LocalCluster, Security  # noqa: PLC0415
    from distributed.system import MEMORY_LIMIT  # noqa: PLC0415

    n = min(workers or _cpus(), max(traces, 1))
    limit = memory_limit or max(int(_MEMORY_SHARE * MEMORY_LIMIT / n), _MIN_WORKER_BYTES)
    with contextlib.ExitStack() as stack:
        # Dask may remove parts of it at the same time, which is no error; of a run that was killed the next one removes it
        scratch = str(stack.enter_context(private_folder("fleet")))
        stack.enter_context(dask.config.set({**_CONFIG, "temporary-directory": scratch}))
        stack.enter_context(_quiet())
        left: list[psutil.Process] = []
        stack.callback(_end, left)  # when the cluster is closed
        security = Security.temporary()
        options = {
            "n_workers": n,
            "threads_per_worker": 1,
            "processes": True,
            "host": "127.0.0.1",
            "protocol": "tls://",
            "security": security,
            "memory_limit": limit,
            "local_directory": scratch,
            # what a worker unpacked goes with the scratch space, also when the worker was ended
            "env": {"TMPDIR": scratch},
            "silence_logs": logging.CRITICAL,
            # without an address the status server would listen on every interface
            "worker_dashboard_address": "127.0.0.1:0",
            "scheduler_kwargs": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            "dashboard": False,
        }
        try:
            with _without_interrupts():
                cluster = stack.enter_context(LocalCluster(**options))
            client = stack.enter_context(Client(cluster, security=security))
        except (OSError, RuntimeError, *_TIMEOUTS) as error:
            raise ProfilerError(
                f"{n} worker processes could not be started ({type(error).__name__}: {str(error)[:300]}).",
                "Give fewer --workers, or try again when this machine is less busy.",
            ) from error
        stack.callback(lambda: left.extend(_started_by(cluster.workers.values())))  # while its workers are there
        yield Cluster(client, n, None, {"cluster": "local", "workers": n, "memory_limit_bytes": limit})


@contextlib.contextmanager
def existing(address: str, folder: Path, tasks: Sequence[Task]) -> Iterator[Cluster]:
    """A cluster that is there, by the address of its scheduler or its scheduler file.

    Its workers must see the traces under the same path and have this very version of the project: both are checked. Workers that
    do not are not used, which is a note; when none is left, it is an error.

    Raises:
        MissingToolError: Dask is not installed.
        ProfilerError: no scheduler there, no workers, or none that can be used.
    """
    _require()
    from distributed import Client  # noqa: PLC0415

    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    hint = "Check that the scheduler runs and can be reached from here: dask scheduler prints its address."
    if "scheduler_file" in where and not Path(address).is_file():
        raise ProfilerError(f"--scheduler {address}: no such scheduler file.", hint)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        try:
            client = stack.enter_context(Client(**where, timeout=_CONNECT_S))
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except _TIMEOUTS as error:
            raise ProfilerError(
                f"--scheduler {address}: no scheduler answered, or it has no workers ({str(error)[:300]}).", hint
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise ProfilerError(f"--scheduler {address}: cannot connect ({str(error)[:300]}).", hint) from error
        usable, notes = _usable(client, address, folder, tasks)
        threads: dict[str, int] = client.nthreads()
        at_once = sum(threads.get(w, 1) for w in usable)
        how = {"cluster": "existing", "workers": len(usable), "threads": at_once}
        yield Cluster(client, at_once, tuple(usable), how, tuple(notes))


def read_all(cluster: Cluster, tasks: Sequence[Task]) -> Iterator[TraceFigures | Broken]:
    """Read traces; results come in the order in which they are ready, one for every task.

    No more traces are given out than can be read at once, so that a worker that is ended takes no other trace with it.

    Raises:
        ProfilerError: the scheduler was lost, or all workers were.
    """
    from distributed import wait  # noqa: PLC0415

    waiting = list(reversed(tasks))
    running: dict[Any, Task] = {}
    idle_s = 0.0
    while waiting or running:
        while waiting and len(running) < cluster.at_once:
            task = waiting.pop()
            future = cluster.client.submit(
                measure, task, pure=False, workers=cluster.workers, allow_other_workers=False, retries=0
            )
            running[future] = task
        try:
            done = wait(list(running), timeout=_WAIT_S, return_when="FIRST_COMPLETED").done
        except _TIMEOUTS:
            idle_s = idle_s + _WAIT_S if not _has_workers(cluster) else 0.0
            if idle_s >= _NO_WORKERS_S:
                raise ProfilerError(
                    f"all workers have been gone for {idle_s:.0f} s; {len(running) + len(waiting)} traces are not read.",
                    "See the workers' own output for why they ended; start them again and repeat the command.",
                ) from None
            continue
        idle_s = 0.0
        for future in done:
            yield _result(future, running.pop(future))
            future.release()


def _result(future: Any, task: Task) -> TraceFigures | Broken:
    from distributed import CancelledError, KilledWorker  # noqa: PLC0415
    from distributed.comm.core import CommClosedError  # noqa: PLC0415

    try:
        outcome: TraceFigures | Broken = future.result()
        return outcome
    except KilledWorker:
        return out_of_memory(task.name)
    except (CancelledError, CommClosedError) as error:
        raise ProfilerError(
            "the connection to the scheduler was lost; nothing was written.", "Start it again and repeat the command."
        ) from error
    except Exception as error:  # what a worker of another kind makes of the task; it is that trace's failure only
        return Broken(
            task.name,
            type(error).__name__,
            f"{task.name}: the worker could not do it: {type(error).__name__}: {str(error)[:500]}",
        )


def _has_workers(cluster: Cluster) -> bool:
    known: dict[str, int] = cluster.client.nthreads()
    return bool(set(known) & set(cluster.workers)) if cluster.workers is not None else bool(known)


def _usable(client: Client, address: str, folder: Path, tasks: Sequence[Task]) -> tuple[list[str], list[str]]:
    import cloudpickle  # noqa: PLC0415

    from profiler.fleet import probe as sent  # noqa: PLC0415

    sizes = {t.name: t.path.stat().st_size for t in tasks if t.path.exists()}
    cloudpickle.register_pickle_by_value(sent)
    try:
        answers: dict[str, Any] = client.run(sent.probe, str(folder), sizes, on_error="return")
    finally:
        cloudpickle.unregister_pickle_by_value(sent)
    mine = code_digest()
    good, reasons = [], []
    for worker, answer in answers.items():
        reason = _why_not(answer, folder, len(sizes), mine)
        if reason is None:
            good.append(worker)
        else:
            reasons.append(f"worker {worker}: {reason}")
    if not good:
        listed = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
        raise ProfilerError(
            f"--scheduler {address}: none of its {len(reasons)} workers can be used: {listed}.",
            "Every worker needs the traces under the same path (a shared file system, the same mount point) and this version of the "
            "project (pip install -e . from the same checkout). Without --scheduler the traces are read on this machine.",
        )
    return good, [f"{reason}; it is not used" for reason in reasons]


def _why_not(answer: Any, folder: Path, files: int, code: str) -> str | None:
    if not isinstance(answer, dict):
        return f"did not answer ({type(answer).__name__}: {str(answer)[:200]})"
    unseen = answer["unseen"]
    if unseen:
        return f"on {answer['host']}, does not see {len(unseen)} of {files} files under {folder}, such as {unseen[0]}"
    if answer["reason"]:
        return f"on {answer['host']}, cannot import this project ({str(answer['reason'])[:200]})"
    if answer["code"] != code:
        return f"on {answer['host']}, has another version of this project"
    return None


def _require() -> None:
    try:
        import cryptography  # noqa: F401, PLC0415
        import distributed  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingToolError(
            f"fleet reads traces in parallel on Dask, and a package that this needs is not here ({error}).",
            f"Install it into this environment: {INSTALL}",
        ) from error


def _cpus() -> int:
    from dask.system import CPU_COUNT  # noqa: PLC0415

    return int(CPU_COUNT)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: the terminal sends it to all of them, and only this one is to act on it.

    Threads and processes inherit the signals that are blocked where they are started; an interrupt that comes meanwhile is
    acted on at the end.
    """
    resource_tracker.ensure_running()  # which would unblock them again when multiprocessing starts it later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _started_by(workers: Iterable[Any]) -> list[psutil.Process]:
    """What worker processes have started themselves: an nsys that exports a report."""
    found: list[psutil.Process] = []
    for nanny in workers:
        with contextlib.suppress(psutil.Error):
            found += psutil.Process(nanny.pid).children(recursive=True) if nanny.pid else []
    return found


def _end(processes: list[psutil.Process]) -> None:
    """End what outlived the worker that started it."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=_WAIT_S)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own log is for who runs a cluster; what concerns the user is said in this project's words."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting `dashboard` is discouraged")
        try:
            yield
        finally:
            logger.setLevel(before)


def parse_bytes(text: str) -> int:
    """A number of bytes such as 4GB, 512MiB, 2e9.

    Raises:
        UsageError: it is not one, or too little for a worker process to start.
    """
    _require()
    from dask.utils import parse_bytes as parse  # noqa: PLC0415

    try:
        value = int(parse(text))
    except (ValueError, KeyError) as error:
        raise UsageError(f"--memory-limit {text!r}: expected a size, such as 4GB.") from error
    if value < _MIN_WORKER_BYTES:
        raise UsageError(f"--memory-limit {text!r}: a worker process needs at least {_MIN_WORKER_BYTES >> 20} MiB.")
    return value
