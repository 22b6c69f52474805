# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Seconds and memory of each step of CoLLAP on a CPU, beside other models, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.speed --output cpu.json              # about half an hour
    OMP_NUM_THREADS=1 python -m benchmarks.speed --output cpu.json --quick      # about 3 minutes

Models have their published sizes and random weights, which cost what trained ones do. Functions that are compared
take turns. Compare rows of one run only: README.md beside this file says what the numbers mean.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from collap.precision import is_faster_on_this_cpu

from .cases import CPU, DTYPES, MATMUL_WIDTH, QUICK, Size
from .curves import curves
from .encoders import encoders
from .measure import Row, matmul_tflops, run_parts
from .process import imports, leak
from .steps import batches, scores, steps, training


def ceilings(size: Size) -> Iterator[Row]:
    """What the CPU can do at best: products of square matrices; small ones where bf16 is slow."""
    for name in DTYPES:
        width = MATMUL_WIDTH if name != "bfloat16" or is_faster_on_this_cpu("bfloat16") else MATMUL_WIDTH // 4
        yield f"matmul {name}", {"tflops": matmul_tflops(CPU, name, width), "width": width}


def ceilings_at_the_end(size: Size) -> Iterator[Row]:
    """The same again: the machine may have become slower, or faster."""
    yield from ceilings(size)


# With their most seconds.
PARTS = dict.fromkeys((ceilings, encoders, steps, batches, scores, training, curves, imports, leak), 1500)
PARTS[ceilings_at_the_end] = 60


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file, written again after each row")
    parser.add_argument("--quick", action="store_true", help="shorter clips, one run of each")
    arguments = parser.parse_args(argv)
    return run_parts(PARTS, QUICK if arguments.quick else Size(), CPU, arguments.output)


if __name__ == "__main__":
    sys.exit(main())
