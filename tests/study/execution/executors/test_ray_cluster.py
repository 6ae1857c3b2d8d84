"""Ray: a study on a real cluster of two nodes on this machine, one of which dies with its run in flight."""

import builtins
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.study.execution_bench import Bench, make_bench

from amplitune.errors import ConfigError
from amplitune.study.execution import supervision
from amplitune.study.execution.executors.executor import LostJobError, Request
from amplitune.study.execution.executors.ray_cluster import RayExecutor

pytestmark = pytest.mark.slow

RAY = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs of its own, and two nodes of one CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    quiet = {"include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    yield cluster
    RAY.shutdown()
    cluster.shutdown()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, monkeypatch)


def raylets(bench: Bench) -> dict[str, int]:
    """For each run that has started, the process of the node that it runs or ran on."""
    return {line.split()[0]: int(line.split()[2]) for line in bench.marker.read_text().splitlines()}


def test_runs_land_on_both_nodes_and_a_node_that_dies_costs_its_run_a_start(
    cluster: Any, bench: Bench
) -> None:
    # Each of the two ends only once the other has started beside it: both nodes have one.
    bench.behaviours = {"a": "together", "b": "together", "c": "watched", "d": "watched"}
    options = {"executor": "ray", "ray_address": cluster.address}
    assert sorted(bench.compare(bench.study("a", "b", "failed", **options))) == ["a", "b", "failed"]
    assert bench.statuses() == {"a": None, "b": None, "failed": "OutOfMemoryError: no memory"}
    assert (bench.run("a") / "log.txt").read_text() == "the log\n"
    first = raylets(bench)
    nodes = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    assert {first["a"], first["b"]} == set(nodes)

    def kill_the_node_of_c() -> None:
        while not {"c", "d"} <= set(raylets(bench)):
            time.sleep(0.05)
        process = next(
            int(line.split()[1]) for line in bench.marker.read_text().splitlines() if line[0] == "c"
        )
        cluster.remove_node(nodes[raylets(bench)["c"]], allow_graceful=False)
        while Path(f"/proc/{process}").exists():
            time.sleep(0.01)
        # From now on they may end, where they run then.
        (bench.side / "go").write_text("")

    killer = threading.Thread(target=kill_the_node_of_c, daemon=True)
    killer.start()
    started = bench.compare(bench.study("a", "b", "c", "d", "e", "failed", **options))
    killer.join()
    assert sorted(started) == ["c", "c", "d", "e"]
    assert bench.statuses() == dict.fromkeys("abcde") | {"failed": "OutOfMemoryError: no memory"}
    assert "pairs / c / seed 0: Its Ray task was lost" in bench.output.getvalue()
    assert raylets(bench)["c"] == raylets(bench)["d"]


def test_a_folder_that_a_node_does_not_see(cluster: Any, tmp_path: Path) -> None:
    executor = RayExecutor(cluster.address, tmp_path / "absent")
    job = executor.start(Request((sys.executable, "-c", ""), tmp_path / "log.txt"))
    deadline = time.monotonic() + 60
    with pytest.raises(LostJobError, match="must be seen by every node of the Ray cluster"):
        while job.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    with pytest.raises(ConfigError, match="`threads` must be at most the 1 CPUs of the largest node"):
        executor.start(Request((sys.executable,), tmp_path / "log.txt", cpus=2))
    executor.close()


def test_a_study_that_stops_stops_its_tasks(cluster: Any, tmp_path: Path) -> None:
    code = (
        "import os, runpy, sys, time\n"
        "runpy.run_path(sys.argv[1])['end_with_parent']()\n"
        "print(os.getpid(), flush=True)\ntime.sleep(600)"
    )
    executor = RayExecutor(cluster.address, tmp_path)
    job = executor.start(
        Request((sys.executable, "-S", "-c", code, str(supervision.__file__)), tmp_path / "log.txt")
    )
    deadline = time.monotonic() + 60
    log = tmp_path / "log.txt"
    while not (log.exists() and log.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(log.read_text())
    job.stop()
    job.wait()
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    executor.close()


def test_without_ray_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"pip install 'amplitune\[ray\]'"):
        RayExecutor(None, tmp_path)


def test_a_cluster_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RAY, "is_initialized", lambda: False)

    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(RAY, "init", refuse)
    with pytest.raises(ConfigError, match="`ray_address` must be the address of a running Ray cluster"):
        RayExecutor("auto", tmp_path)
