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
Example:
    metric = evaluate.load("collap/evaluation/text_audio_retrieval")
    scores = [[0.9, 0.1, 0.3], [0.8, 0.3, 0.5]]
    found = metric.compute(predictions=scores, references=[[0], [1, 2]], recall_at=[1, 2])
    found["recall@1"], found["recall@2"], found["median_rank"]  # 0.5, 0.75, 1.5
"""

_CITATION = """\
@inproceedings{collap,
  title = {CoLLAP: Contrastive Long-form Language-Audio Pretraining with Musical Temporal Structure Augmentation},
  year = {2025},
  note = {arXiv 2410.02271; it reports recall},
}
"""


class TextAudioRetrieval(evaluate.Metric):
    """[`collap.metrics.retrieval_metrics`] for `evaluate`."""

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "predictions": datasets.Sequence(datasets.Value("float64")),
            "references": datasets.Sequence(datasets.Value("int64")),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
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
