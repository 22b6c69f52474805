# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Fuzzing: damaged songs, manifests and stores, each made from its seed alone; no recordings are kept.

`make fuzz` runs for an hour and prints a line a minute. `python -m tests.fuzz --minutes 5 --kinds audio --seed 7` runs
a part of it, `--case audio-123` repeats one case. Failing cases are kept with their files and their traceback in
`fuzz-failures/`. `test_fuzz.py` runs a fixed number of cases.

Each case runs in a process of its own, with a limit of time and of memory, and must end in one of three ways:
- `whole`: everything that the input holds came out;
- `problem`: something is missing, and a problem is named;
- `refused`: one ValueError that names the file (and in a manifest the line).
Another exception, a hang, less than there is without a word, or numbers that are wrong are a fault.
"""
