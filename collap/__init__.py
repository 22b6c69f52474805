# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""CoLLAP: search whole songs by long descriptions. The face of the package; nothing is defined here."""

from collap.hub.code import push_with_code, register_auto_classes
from collap.modeling_collap.configuration_beats import BeatsConfig
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_beats import BeatsModel, BeatsPreTrainedModel
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.modeling_collap.modeling_collap_base import CollapPreTrainedModel
from collap.modeling_collap.modeling_collap_text import CollapTextModel
from collap.modeling_collap.outputs_collap import CollapAttentions, CollapAudioOutput, CollapOutput, CollapTextOutput
from collap.processing.data_collator_collap import CollapDataCollator
from collap.processing.feature_extraction_beats import BeatsFeatureExtractor
from collap.processing.feature_extraction_collap import (
    AudioCoverage,
    CollapBatchFeature,
    CollapFeatureExtractor,
    TextCoverage,
)
from collap.processing.processing_collap import CollapProcessor
from collap.towers import from_towers

__version__ = "0.1.0"

register_auto_classes()
push_with_code()  # what is pushed to the Hub brings its code, as what `collap publish` writes

__all__ = [
    "AudioCoverage",
    "BeatsConfig",
    "BeatsFeatureExtractor",
    "BeatsModel",
    "BeatsPreTrainedModel",
    "CollapAttentions",
    "CollapAudioModel",
    "CollapAudioOutput",
    "CollapBatchFeature",
    "CollapConfig",
    "CollapDataCollator",
    "CollapFeatureExtractor",
    "CollapModel",
    "CollapOutput",
    "CollapPreTrainedModel",
    "CollapProcessor",
    "CollapTextModel",
    "CollapTextOutput",
    "TextCoverage",
    "from_towers",
]
