# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Trains one row of the benchmark with examples/train.py and writes down the seconds of computing that it took.

Takes its own arguments first and hands all others to `train.py`.
"""

import argparse
import json
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "baselines")]
import train  # noqa: E402 - after the path

from collap import CollapModel  # noqa: E402
from collap.baselines.mean_pooling import MeanPoolingCollap  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mean_pooling", action="store_true", help="train CoLLAP's mean frame, without attention")
    parser.add_argument("--output_dir", type=Path, required=True)
    own, others = parser.parse_known_args()
    started = time.process_time()
    train.main([f"--output_dir={own.output_dir}", *others], MeanPoolingCollap if own.mean_pooling else CollapModel)
    seconds = {"cpu_seconds": time.process_time() - started}
    (own.output_dir / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
