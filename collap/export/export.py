# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The command `collap export`."""

import logging
import shutil
import warnings
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from collap.cli import HelpFormatter
from collap.extras import require_extra
from collap.files import whole_folder, write_json
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.modeling_collap_base import load_complete
from collap.processing import audio_decoding_collap, sentence_splitting_collap
from collap.processing.feature_extraction_beats import MIN_SAMPLES, SAMPLING_RATE
from collap.processing.processing_collap import UNLIMITED_TOKENS, CollapProcessor
from collap.progress import progress_bar

from .graphs import Graph, make_graphs

logger = logging.getLogger(__name__)

OPSET = 20  # of ONNX, the first with all operators of the features
TOLERANCE = 1e-3  # of the outputs of a graph, relative to the largest
LINEAR_LAYERS = ("torch.nn.modules.linear.Linear", "transformers.pytorch_utils.Conv1D")  # the second is GPT-2's
INT8_GRAPHS = ("audio", "text")  # the others have few weights
SEARCH_FILES = (audio_decoding_collap.__file__, sentence_splitting_collap.__file__)


def export(arguments: Sequence[str]) -> None:
    """
    Writes the graphs of a CoLLAP: audio, adapter, text and scores.

        collap export --model my-collap --format onnx my-collap-onnx
        python my-collap-onnx/onnx_search.py --songs *.mp3 --texts "A slow piano opens the song."

    onnx_search.py comes with ONNX graphs and needs no torch. `--format torch` writes what `torch.export.load` takes.
    """
    parser = ArgumentParser("collap export", description=export.__doc__, formatter_class=HelpFormatter)
    parser.add_argument("output_dir", type=Path, help="folder to write; it must not exist, or be empty")
    parser.add_argument("--model", required=True, help="folder or Hub name of a CoLLAP with its processor")
    parser.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="format of the graphs")
    parser.add_argument("--int8", action="store_true", help="write audio and text also with weights of 8 bits (onnx)")
    given = parser.parse_args(arguments)
    if given.int8 and given.format != "onnx":
        parser.error("--int8 needs --format onnx")
    export_model(given.model, given.output_dir, given.format, given.int8)
    print(f"Wrote {given.output_dir}.")


def export_model(name_or_path: str, output_dir: str | Path, file_format: str = "onnx", int8: bool = False) -> None:
    """
    Writes the graphs of [`make_graphs`] to a new folder, or nothing.

    Args:
        name_or_path (`str`): Folder or Hub name of a CoLLAP with its processor.
        output_dir (`str` or `Path`): Must not exist, or be empty.
        file_format (`str`): `"onnx"`, with all that onnx_search.py needs, or `"torch"`.
        int8 (`bool`): Whether to write also ONNX graphs with weights of 8 bits.

    Raises:
        ImportError: if the extra `onnx` is not installed, for ONNX.
        ValueError: if the folder is not empty, the weights are incomplete or have no file tokenizer.json (for ONNX).
        RuntimeError: if a graph cannot be exported, or returns other values than the model (of 8 bits it may).
    """
    if file_format == "onnx":
        require_extra("onnx", "onnx", "onnxscript", "onnxruntime")
    with whole_folder(output_dir) as folder:
        model = load_complete(CollapModel, name_or_path, dtype=torch.float32).eval()
        # An adapter may have no processor: it has that of its base model, whose name the configuration keeps.
        has_none = Path(name_or_path).is_dir() and not Path(name_or_path, "processor_config.json").is_file()
        processor = CollapProcessor.from_pretrained(model.config._name_or_path if has_none else name_or_path)
        processor.check_model(model)
        if file_format == "onnx":
            model.set_attn_implementation("eager")  # of T5 the other one cannot be converted
            _write_search(model.config, processor, folder)
        for name, graph in progress_bar(make_graphs(model, processor).items(), desc="Exporting", unit="graph"):
            try:
                if file_format == "torch":
                    with _quiet():
                        program = graph.program()
                    _check(graph, f"{name}.pt2", program.module()(*graph.others.values()))
                    torch.export.save(program, folder / f"{name}.pt2")
                else:
                    _write_onnx(graph, folder / f"{name}.onnx", with_int8=int8 and name in INT8_GRAPHS)
            except RuntimeError as error:
                kind = f" ({model.config.text_config.model_type})" if name == "text" else ""
                reason = str(error).partition("\n")[0]  # torch adds pages
                raise RuntimeError(f"The graph {name!r}{kind} cannot be exported: {reason}") from error


def _write_onnx(graph: Graph, file: Path, with_int8: bool) -> None:
    import onnxruntime

    with _quiet():
        program = torch.onnx.export(
            graph.program(),
            input_names=list(graph.inputs),
            output_names=graph.outputs,
            dynamic_shapes=(tuple(graph.axes),),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        program.save(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(graph.outputs, {name: value.numpy() for name, value in graph.others.items()})
    _check(graph, file.name, map(torch.from_numpy, found))
    if with_int8:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with _quiet():
            quantize_dynamic(
                file,
                file.with_suffix(".int8.onnx"),
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_quantize=_linear_layers(file),
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,  # CPUs without VNNI add two products in 16 bits: weights of 8 bits overflow there
            )


def _linear_layers(file: Path) -> list[str]:
    """The nodes of linear layers: not those of the features, and no `SmallLinear`."""
    import onnx

    names = [
        node.name
        for node in onnx.load(file, load_external_data=False).graph.node
        for entry in node.metadata_props
        if entry.key == "pkg.torch.onnx.class_hierarchy" and any(f"'{name}'" in entry.value for name in LINEAR_LAYERS)
    ]
    return [*names, *(f"{name}_MatMul" for name in names)]  # what a Gemm is called once onnxruntime has split it


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, no library reports its steps, or warns of code that is not ours, or prints a graph that failed."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _check(graph: Graph, name: str, found: Iterable[torch.Tensor]) -> None:
    """Compares what a file returns for the second inputs of a graph with the model."""
    with torch.no_grad():
        expected = graph(*graph.others.values())
    for output, values, own in zip(graph.outputs, found, expected, strict=True):
        error = (values.float() - own.float()).abs().max().item()
        if not error <= TOLERANCE * own.float().abs().max().item():
            raise RuntimeError(f"{output} of {name} differs from the model by up to {error:g}.")


def _write_search(config: CollapConfig, processor: CollapProcessor, folder: Path) -> None:
    tokenizer = processor.tokenizer
    if not tokenizer.is_fast:
        raise ValueError(f"model must have a tokenizer with a tokenizer.json, got a {type(tokenizer).__name__}.")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    tokens = min(processor.max_text_tokens or tokenizer.model_max_length, config.max_text_tokens or UNLIMITED_TOKENS)
    extractor = processor.feature_extractor
    settings: dict[str, Any] = {
        "samples_per_chunk": extractor.num_chunk_samples,
        "min_samples": MIN_SAMPLES,
        "max_samples": extractor.max_length_s and round(extractor.max_length_s * SAMPLING_RATE),
        "text_granularity": processor.text_granularity,
        "language": processor.language,
        "max_text_tokens": tokens if tokens < UNLIMITED_TOKENS else None,
        "pad_token": tokenizer.pad_token,
        "pad_token_id": tokenizer.pad_token_id,
    }
    write_json(folder / "collap_onnx.json", settings)
    for file in (*SEARCH_FILES, Path(__file__).with_name("onnx_search.py")):
        shutil.copy(file, folder)
