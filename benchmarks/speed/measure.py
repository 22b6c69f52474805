# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
What the speed benchmarks share: the machine, times and memory of functions, and running parts within time budgets.

Imports only torch, transformers, numpy and collap's models: a machine with a GPU may lack everything else.
"""

import contextlib
import ctypes
import os
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils import collect_env

from collap.files import library_versions, markdown_table, this_command, write_json

PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "collap")
Row = tuple[str, dict[str, Any]]  # a name and its numbers
Function = Callable[[], Any]
STATUS = Path("/proc/self/status")
COLUMNS = {
    "seconds": "seconds",
    "seconds_per_minute": "seconds a minute of song",
    "mfu": "MFU",
    "peak_memory_gb": "peak, GB",
}


def describe_machine() -> dict[str, Any]:
    """Processor, its instructions, cores, threads, allocator, GPU, driver and versions; never a host name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    instructions = {flag for flag in fields.get("flags", "").split() if flag.startswith(("avx", "amx"))}
    machine = {
        "processor": fields.get("model name", platform.machine()),
        "instructions": sorted(instructions),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "allocator": Path(os.environ.get("LD_PRELOAD", "the system's")).name,
        "gpu": None,
        "versions": library_versions(PACKAGES),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        machine |= {
            "gpu": properties.name,
            "gpu_memory_gb": properties.total_memory / 1e9,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "bfloat16": torch.cuda.is_bf16_supported(),
            "cuda": torch.version.cuda,
        }
        machine["driver"] = collect_env.get_nvidia_driver_version(collect_env.run)
    return machine


def now(device: torch.device) -> float:
    """Seconds of a clock, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def compare(
    functions: Mapping[str, Function], device: torch.device, num_runs: int = 5, budget_s: float = 10.0
) -> dict[str, dict[str, Any]]:
    """
    For each function the median seconds of its calls, their range, and the peak of memory that a call adds.

    The functions take turns, so that what else the machine does meets all of them. Up to `num_runs` rounds; none but
    one starts after `budget_s`. A call before them warms up and gives the memory.
    """
    memory_gb = {name: peak_memory_gb(function, device) for name, function in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    started = time.perf_counter()
    for _ in range(num_runs):
        for name, function in functions.items():
            began = now(device)
            function()
            seconds[name].append(now(device) - began)
        if time.perf_counter() - started > budget_s:
            break
    return {
        name: {
            "seconds": statistics.median(own),
            "range_s": [min(own), max(own)],
            "runs": len(own),
            "peak_memory_gb": memory_gb[name],
        }
        for name, own in seconds.items()
    }


def measure(function: Function, device: torch.device, num_runs: int = 5, budget_s: float = 10.0) -> dict[str, Any]:
    """[`compare`] for one function."""
    return compare({"": function}, device, num_runs, budget_s)[""]


def peak_memory_gb(function: Function, device: torch.device) -> float | None:
    """
    Peak of memory of a call: of torch's allocator on a GPU, weights included; of the whole process on a CPU, beyond
    what it held before. None where the system does not tell (other than Linux).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        function()
        return torch.cuda.max_memory_allocated() / 1e9
    if status_gb("VmHWM") is None:
        function()
        return None
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls have freed is no room for this one
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status_gb("VmRSS")
    function()
    return max(0.0, status_gb("VmHWM") - before)


def status_gb(name: str, status: str | None = None) -> float | None:
    """A size in the status of a process, by default of this one: VmRSS what it holds, VmHWM its peak (Linux only)."""
    if status is None:
        status = STATUS.read_text() if STATUS.is_file() else ""
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(sizes[0]) * 1024 / 1e9 if sizes else None


def matmul_tflops(device: torch.device, dtype: str, width: int) -> float:
    """The rate of a product of square matrices; that of float32 without TF32."""
    first, second = torch.randn(2, width, width, device=device).to(getattr(torch, dtype))
    repeats = 10 if device.type == "cuda" else 1

    def multiply() -> None:
        for _ in range(repeats):
            first @ second

    return repeats * 2 * width**3 / measure(multiply, device, budget_s=1)["seconds"] / 1e12


@contextlib.contextmanager
def time_budget(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"the time budget of {seconds:g} s is used up")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_parts(
    parts: Mapping[Callable[[Any], Iterator[Row]], float], run: Any, device: torch.device, output: Path
) -> int:
    """
    Runs each part within its seconds, with the `run` that all share, and writes the JSON again after each row, so that
    a run that is cut off keeps what it has. A part that fails is recorded and the others still run; the exit status is
    then 1.
    """
    result = {"command": this_command(), "machine": describe_machine(), "device": str(device), "parts": {}}
    status = 0
    for part, budget_s in parts.items():
        found: dict[str, Any] = result["parts"].setdefault(part.__name__, {"rows": {}})
        started = time.perf_counter()
        torch.manual_seed(0)
        try:
            with time_budget(budget_s):
                for name, row in part(run):
                    found["rows"][name] = row
                    write_json(output, result)
                    numbers = [f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float)]
                    print(f"{part.__name__:9} {name:25} {', '.join(numbers)}", flush=True)
        except Exception as error:  # a part that fails must not take the others with it
            found["error"] = f"{type(error).__name__}: {error}"
            status = 1
            print(f"{part.__name__:9} {found['error']}", flush=True)
        found["seconds"] = time.perf_counter() - started
        write_json(output, result)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    print("\n" + table(result["parts"]))
    return status


def table(parts: Mapping[str, Any]) -> str:
    """The rows of all parts in Markdown: the numbers that most have, of a curve the first and the last, and others."""

    def cell(value: Any) -> str:
        if isinstance(value, dict):
            first, *_, last = value.values()
            return f"{cell(first)} to {cell(last)}"
        return f"{value:.3g}" if isinstance(value, float) else str(value or "")

    rows = [["row", *COLUMNS.values(), "else"]]
    for part, found in parts.items():
        for name, row in found["rows"].items():
            more = {key: row[key] for key in row.keys() - COLUMNS if isinstance(row[key], float | str)}
            others = ", ".join(f"{key} {cell(value)}" for key, value in sorted(more.items()))
            rows.append([f"{part}: {name}", *(cell(row.get(key)) for key in COLUMNS), others])
    return markdown_table(rows)
