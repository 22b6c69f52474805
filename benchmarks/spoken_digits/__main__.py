# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Transcript to track and back, on real recordings: composes the tracks, trains, and tests on a held-out speaker.

    python -m benchmarks.spoken_digits --data_dir free-spoken-digit-dataset/recordings --output_dir digits

Training and test are steps of benchmarks/pipeline.py, whose output is in the folder `logs`. Tracks and features that
are there already are not made again. README.md beside this file has the results of a run and says what they mean.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from collap.files import atomic_write, markdown_table, write_json
from collap.metrics import chance_level

from ..pipeline import Pipeline
from ..towers import SPECIAL_TOKENS, save_text_tower
from .tracks import WORDS, Settings, compose

TRAIN_S = (60.0, 120.0)  # seconds, shortest and longest
TEST_S = (120.0, 120.0)  # all the same: longer tracks have longer transcripts

MODEL = {
    "projection_dim": 64,
    "frame_pooling": 8,
    "kernel_size": 16,  # frames of 0.16 s: much of a phrase ...
    "kernel_stride": 4,  # ... wherever it starts
    "kernel_temperature": 1.0,  # nearly a mean: a phrase is all of its digits, not the best one
    "text_pooling": "mean",  # a new text tower hardly learns through one token alone
    "logit_scale_init_value": 3.5,
}
RECIPE = {
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,  # a share of all steps
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 10,
    "sentence_shuffle_probability": 0.0,
    "logging_steps": 20,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": "true",
}
ROWS = {
    "sentence queries with time": ("sentences", {"text_granularity": "sentence", "temporal_position": "true"}),
    "sentence queries without time": ("sentences_no_time", {"text_granularity": "sentence"}),
    "document attention (paper)": ("document", {"text_granularity": "document"}),
}
CONTROLLED = "sentences"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of {digit}_{speaker}_{take}.wav")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--speech_model", default="openai/whisper-tiny.en", help="default: %(default)s")
    parser.add_argument("--num_tracks", type=int, nargs=3, default=(300, 50, 100), help="of each split")
    parser.add_argument("--num_epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    out = given.output_dir
    digits = Pipeline(out)

    num_train, num_validation, num_test = given.num_tracks
    tracks = {"train": num_train, "validation": num_validation}
    compose(given.data_dir, out / "tracks", tracks, Settings(*TRAIN_S, given.seed))
    build_text_tower(out / "text", given.seed)
    towers = {"speech_model": given.speech_model, "text_model": out / "text"}
    manifests = {"train_manifest": out / "tracks/train.jsonl", "eval_manifest": out / "tracks/validation.jsonl"}
    encoders = {**towers, "frame_pooling": MODEL["frame_pooling"]}
    steps = [digits.extract(list(manifests.values()), encoders, inputs=list(manifests.values()))]
    for title, (name, options) in ROWS.items():
        recipe = {**MODEL, **RECIPE, "num_train_epochs": given.num_epochs, "seed": given.seed}
        arguments = {**manifests, **towers, **options, **recipe, "features": digits.features}
        steps.append(digits.train(name, title, arguments, steps[:1]))
    digits.run(steps)

    # Only now come the tracks of the held-out speaker.
    compose(given.data_dir, out / "test", {"test": num_test}, Settings(*TEST_S, given.seed))
    manifest, control = out / "test" / "test.jsonl", out / "test" / "other_digits.jsonl"
    exchange_digits(manifest, control, given.seed)
    model = {"model_name_or_path": digits.model(CONTROLLED)}
    digits.run([digits.extract([manifest], model, inputs=[manifest], name="extract-test", title="Test tracks")])
    results = {"chance": chance(num_test)}
    tests = [(row, name, manifest) for row, (name, _) in ROWS.items()]
    for row, name, file in [*tests, ("with time, the text's digits exchanged (control)", CONTROLLED, control)]:
        options = {key: RECIPE[key] for key in ("per_device_eval_batch_size", "report_to", "use_cpu")}
        options |= {"model_name_or_path": digits.model(name), "eval_manifest": file, "features": digits.features}
        test = f"{name}_{file.stem}"
        digits.run([digits.train(test, row, options, inputs=[file])])
        metrics = json.loads((digits.model(test) / "eval_results.json").read_text())
        results[row] = {key.removeprefix("eval_"): value for key, value in metrics.items()}
    write_json(out / "results.json", results)
    print_table(results)


def build_text_tower(output_dir: Path, seed: int) -> None:
    """Writes a small RoBERTa with random weights and a tokenizer whose tokens are the ten words and the full stop."""
    tokens = [*SPECIAL_TOKENS[:4], *WORDS, "."]  # without <mask>
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    save_text_tower(tokenizer, output_dir, seed=seed, **sizes)


def chance(gallery_size: int) -> dict[str, float]:
    """The metrics of a random guess."""
    metrics = chance_level(gallery_size, recall_at=(1, 5))
    return {f"{way}_{name}": value for way in ("text_to_audio", "audio_to_text") for name, value in metrics.items()}


def exchange_digits(manifest: Path, output: Path, seed: int) -> None:
    """Writes the manifest with other digits in its texts: what still finds its track does so by the rhythm."""
    random = np.random.default_rng(seed)
    lines = []
    for song in map(json.loads, manifest.read_text(encoding="utf-8").splitlines()):
        counts = [len(sentence.split()) for sentence in song["text"]]
        song["text"] = [" ".join(random.choice(WORDS, size=count)) + "." for count in counts]
        lines.append(json.dumps(song) + "\n")
    with atomic_write(output) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def print_table(results: Mapping[str, Mapping[str, float]]) -> None:
    rows = [["", "text to audio: R@1", "R@5", "median rank", "audio to text: R@1", "R@5", "median rank"]]
    for title, metrics in results.items():
        rows.append([title])
        for direction in ("text_to_audio", "audio_to_text"):
            rows[-1] += [f"{100 * metrics[f'{direction}_recall@{k}']:.1f}" for k in (1, 5)]
            rows[-1].append(f"{metrics[f'{direction}_median_rank']:g}")
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
