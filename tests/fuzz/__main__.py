# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Runs cases for a time, or a number of them, or one again; see the package's docstring."""

import os
import re
import shutil
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

SCRATCH = Path(tempfile.mkdtemp(prefix="collap-fuzz-"))
os.environ |= {"HF_HOME": str(SCRATCH / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # before the imports

from . import audio_cases, manifest_cases, runner, store_cases  # noqa: E402

KINDS = {
    "audio": audio_cases.audio_case,
    "manifest": manifest_cases.manifest_case,
    "store": store_cases.store_case,
}


def main() -> int:
    parser = ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long to run")
    parser.add_argument("--cases", type=int, help="how many cases of each kind, in place of a time")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--case", help="one case again, such as audio-123")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where failing cases are kept")
    given = parser.parse_args()
    if given.minutes is None and given.cases is None and given.case is None:
        parser.error("give --minutes, --cases or --case")
    try:
        return _run(given)
    finally:
        runner.remove(SCRATCH)


def _run(given) -> int:
    failures = given.failures.absolute()
    least_mb = runner.run("none", lambda case: "whole", SCRATCH / "none")[2]
    if given.case:
        kept = failures / given.case
        runner.remove(kept)
        outcome, text, peak_mb = runner.run(given.case, KINDS[given.case.split("-")[0]], kept, least_mb)
        print(f"{text}\n{given.case}: {outcome}, {peak_mb - least_mb} MB, its files are in {kept}")
        return int(outcome == "FAULT")

    started = reported = time.monotonic()
    counts: Counter[tuple[str, str]] = Counter()
    index, most_mb, longest_s = 0, 0, 0.0
    while given.cases is None or index < given.cases:
        if given.minutes is not None and time.monotonic() - started > 60 * given.minutes:
            break
        for kind in given.kinds:
            name, begun = f"{kind}-{given.seed + index}", time.monotonic()
            outcome, text, peak_mb = runner.run(name, KINDS[kind], SCRATCH / name, least_mb)
            counts[kind, outcome] += 1
            most_mb, longest_s = max(most_mb, peak_mb - least_mb), max(longest_s, time.monotonic() - begun)
            if outcome == "FAULT":
                runner.remove(failures / name)
                failures.mkdir(parents=True, exist_ok=True)
                shutil.copytree(SCRATCH / name, failures / name, symlinks=True, ignore=_special_files)
                (failures / name / "report.txt").write_text(text)
                print(f"FAULT {name}: {_in_short(text)}", flush=True)
            runner.remove(SCRATCH / name)
        index += 1
        if time.monotonic() - reported > 60:
            reported = time.monotonic()
            print(f"{(reported - started) / 60:.0f} min: {_summary(counts)}", flush=True)
    print(f"{_summary(counts)}; the longest {longest_s:.1f} s, the largest {most_mb} MB")
    faults = sum(count for (_, outcome), count in counts.items() if outcome == "FAULT")
    if faults:
        print(f"{faults} cases are kept in {failures}; repeat one by: python -m tests.fuzz --case NAME")
    return int(faults > 0)


def _in_short(text: str) -> str:
    """What was done, and the error."""
    lines = text.splitlines()
    steps = [line[2:] for line in lines if line.startswith("> ")]
    errors = [line for line in lines if re.match(r"[\w.]+(Fault|Error|Exception)\b|it (took|hangs)|killed", line)]
    return f"{'; '.join(steps)[:300]}: {(errors or lines or [''])[-1][:400]}"


def _special_files(folder: str, names: list[str]) -> list[str]:
    paths = [Path(folder, name) for name in names]
    return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]


def _summary(counts: Counter) -> str:
    kinds = sorted({kind for kind, _ in counts})
    return "; ".join(
        f"{sum(counts[kind, o] for k, o in counts if k == kind)} {kind} ("
        + ", ".join(f"{counts[kind, outcome]} {outcome}" for k, outcome in sorted(counts) if k == kind)
        + ")"
        for kind in kinds
    )


if __name__ == "__main__":
    raise SystemExit(main())
