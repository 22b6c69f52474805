# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
What the paper's training costs: seconds and floating point operations a song, for models of the paper's size.

    python -m benchmarks.speed.cost

BEATs, the encoder of whisper-large-v2 and RoBERTa base, with random weights, which cost what trained ones do. Parts of
a song of average length (288 s) are measured: chunks of 30 s in the encoders, and a step on cached features; the hours
of 51,300 songs x 20 epochs follow by arithmetic. Runs on the machine's GPU in bf16, else on its CPU in float32.
Writes benchmarks/results/paper_cost.json.
"""

import argparse
import json

import torch

from benchmarks.speed.common import measure, song_flops, write_result
from benchmarks.speed.gpu import Run, Size, make_model, make_songs, measure_training
from collap import CollapModel

NUM_SONGS, EPOCHS = 51_300, 20  # the paper's, section on data
SUSTAINED_FLOPS = 1e14  # a round number to scale by: 100 TFLOP/s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, help="songs of a step; default: 4 on a CPU, 128 on a GPU")
    arguments = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    run = Run(torch.device("cuda" if on_gpu else "cpu"), Size())
    num_songs = arguments.batch_size or (128 if on_gpu else 4)
    num_chunks = 16 if on_gpu else 1
    torch.manual_seed(0)
    config = run.config(encoder_batch_size=num_chunks)
    chunks_a_song = run.size.song_s / config.chunk_length_s
    model = make_model(CollapModel, config, run.device)
    song = make_songs(config, [num_chunks * config.chunk_length_s], run.device)

    def encode() -> None:
        with torch.no_grad(), torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=on_gpu):
            model.audio_model.encode(**song)

    encode_s = measure(encode, run.device)["seconds"] / num_chunks * chunks_a_song
    encode_flops = song_flops(config, config.chunk_length_s) * chunks_a_song
    step = measure_training(run, model.train(), num_songs, autocast=on_gpu)
    step_s, step_flops = step["seconds"] / num_songs, step["tflop"] * 1e12 / num_songs
    rows = {}
    for name, encoded, times in (
        ("features, once", None, 1),
        ("training on features", 0, EPOCHS),
        ("training live, encoders frozen", 1, EPOCHS),
        # Computed, not measured: twice forward (parts of a song are computed again on the way back), and back, which
        # is twice as much.
        ("training live, encoders learn", 4, EPOCHS),
    ):
        seconds = encode_s if encoded is None else step_s + encoded * encode_s
        flops = encode_flops if encoded is None else step_flops + encoded * encode_flops
        rows[name] = {
            "seconds_a_song": seconds,
            "flops_a_song": flops,
            "hours_here": seconds * NUM_SONGS * times / 3600,
            "hours_at_100_tflops": flops * NUM_SONGS * times / SUSTAINED_FLOPS / 3600,
        }
    result = {
        "what": f"{NUM_SONGS} songs of {run.size.song_s:g} s, {EPOCHS} epochs; features once",
        "parameters": model.num_parameters(),
        "songs_of_a_step": num_songs,
        "precision": "bf16" if on_gpu else "float32",
        "steps": rows,
    }
    write_result("paper_cost", result)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
