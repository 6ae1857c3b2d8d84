"""Timing of cases in interleaved rounds, so that what disturbs the machine disturbs all of them alike."""

import gc
import random
import time
from collections.abc import Callable, Mapping

import torch

Case = Callable[[], object]
Clock = Callable[[Case, int], float]


def host_clock(case: Case, calls: int) -> float:
    """Time calls on the CPU.

    Args:
        case: what to call.
        calls: how often.

    Returns:
        Seconds of one call.
    """
    started = time.perf_counter()
    for _ in range(calls):
        case()
    return (time.perf_counter() - started) / calls


def device_clock(case: Case, calls: int) -> float:
    """Time calls on a CUDA device with events; where the host is the slower one, its time shows.

    Args:
        case: what to call.
        calls: how often.

    Returns:
        Seconds of one call.
    """
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        case()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000 / calls


def clock_of(device: str) -> Clock:
    """Choose the clock of a device.

    Args:
        device: "cpu" or "cuda".

    Returns:
        `host_clock` or `device_clock`.
    """
    return device_clock if device == "cuda" else host_clock


def interleave(
    cases: Mapping[str, Case], rounds: int, clock: Clock = host_clock, at_least: float = 0.01, seed: int = 0
) -> dict[str, list[float]]:
    """Time each case once in each round, in an order that is drawn anew for each round.

    Args:
        cases: by name. Each is called twice before, for caches, compilation and the number of calls.
        rounds: number of rounds.
        clock: how to time.
        at_least: seconds of one measurement; a case that is faster is called more often in it.
        seed: of the orders.

    Returns:
        Seconds of one call in each round, by name.
    """
    calls = {}
    for name, case in cases.items():
        clock(case, 1)
        calls[name] = max(1, min(1000, round(at_least / max(clock(case, 1), 1e-9))))
    order = random.Random(seed)
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in order.sample(list(cases), len(cases)):
                seconds[name].append(clock(cases[name], calls[name]))
    finally:
        if collects:
            gc.enable()
    return seconds


def replayed(case: Case) -> Case:
    """Record a case's work on the CUDA device as a graph, whose replay leaves out the host's share.

    Args:
        case: work of fixed shapes that never waits for the device.

    Returns:
        The replay.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            case()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        case()
    return graph.replay
