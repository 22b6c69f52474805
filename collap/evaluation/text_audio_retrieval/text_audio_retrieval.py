# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The metrics of retrieval as a module of `evaluate`: `evaluate.load("collap/evaluation/text_audio_retrieval")`."""

import datasets
import evaluate
import numpy as np

from collap.metrics import RECALL_AT, retrieval_metrics

_DESCRIPTION = """\
Recall, hit rate, mean average precision, MRR and median rank of queries that search their right
answers in one gallery. Ranks count from 1, a tie counts against the right answer.
"""

_KWARGS_DESCRIPTION = """\
Args:
    predictions (list of list of float): The scores of each query against the whole gallery, higher is better.
    references (list of list of int): The places in the gallery of each query's right answers, one or more.
    recall_at (list of int): The numbers k of best answers to look at.
Returns:
    dict of float: recall@k and hit_rate@k for each k, map@10, mrr, median_rank, num_queries, gallery_size.
"""


class TextAudioRetrieval(evaluate.Metric):
    """[`collap.metrics.retrieval_metrics`] for `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        types = {"predictions": "float64", "references": "int64"}
        features = {name: datasets.Sequence(datasets.Value(kind)) for name, kind in types.items()}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(features),
        )

    def _compute(
        self, predictions: list[list[float]], references: list[list[int]], recall_at: list[int] | None = None
    ) -> dict[str, float]:
        sizes = {len(scores) for scores in predictions}
        if len(sizes) != 1:
            raise ValueError(f"predictions must score one gallery, got rows of {sorted(sizes)} scores.")
        right = np.zeros((len(predictions), sizes.pop()), dtype=bool)
        for row, places in zip(right, references, strict=True):
            wrong = [place for place in places if not 0 <= place < len(row)]
            if wrong:
                raise ValueError(f"references must be places in the gallery, 0 to {len(row) - 1}, got {wrong}.")
            row[list(places)] = True
        return retrieval_metrics(np.asarray(predictions), right, recall_at or RECALL_AT)
