# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""CoLLAP's model: what goes through the towers, how frames are joined, and that batches change nothing."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from tiny_models import FBANK_FRAMES, audio_inputs, text_inputs, tiny_config

from collap import CollapAudioOutput, CollapModel, CollapTextOutput
from collap.modeling_collap import modeling_collap_audio
from collap.modeling_collap.loss_collap import contrastive_loss
from collap.modeling_collap.modeling_collap_text import pool_tokens

SONGS = [2 * FBANK_FRAMES + 40, 17, FBANK_FRAMES, 4 * FBANK_FRAMES]  # 2, 0, 1 and 4 full chunks, some with a rest


def make_model(**changes) -> CollapModel:
    torch.manual_seed(0)
    model = CollapModel(tiny_config(**changes)).eval()
    with torch.no_grad():  # livelier than the initial weights, so that a mistake shows
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    return model


def song(inputs: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """The inputs of one song of a batch, without the chunks that pad it."""
    chunks = int(inputs["audio_attention_mask"][index].any(-1).sum())
    return {name: value[index : index + 1, :chunks] for name, value in inputs.items()}


def standardise(vectors: torch.Tensor) -> torch.Tensor:
    """A LayerNorm without weights, written out."""
    centred = vectors - vectors.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()


class TestAudio:
    @pytest.mark.parametrize("pooling", [1, 3, 8, 64])
    @pytest.mark.parametrize("absent", [None, "music_config", "speech_config"])
    def test_frames_equal_a_slow_join(self, pooling: int, absent: str | None):
        """Chunk by chunk: encode, normalise, fill up with zeros, join by index, average neighbours, adapt."""
        model = make_model(frame_pooling=pooling, **({absent: None} if absent else {})).audio_model
        inputs = audio_inputs(SONGS)
        with torch.no_grad():
            output = model(**inputs)
        for index, num_fbank_frames in enumerate(SONGS):
            expected = []
            for chunk in range(math.ceil(num_fbank_frames / FBANK_FRAMES)):
                real = min(FBANK_FRAMES, num_fbank_frames - chunk * FBANK_FRAMES)
                steps = real // 16
                count = (real + 2) // 2 if pooling == 1 else 8 * steps
                parts = []
                with torch.no_grad():
                    if model.music_model is not None:
                        fbank = inputs["fbank_features"][index : index + 1, chunk, :real]
                        music = model.music_model(fbank).last_hidden_state[0]
                        assert music.shape[0] == 8 * steps
                        zeros = torch.zeros(count - len(music), music.shape[1])
                        parts.append(torch.cat((standardise(music), zeros)))
                    if model.speech_model is not None:
                        mel = inputs["input_features"][index : index + 1, chunk]
                        speech = model.speech_model(mel).last_hidden_state[0]
                        parts.append(standardise(speech)[:count])
                    joined = torch.cat(parts, dim=-1)
                    expected += [joined[start : start + pooling].mean(0) for start in range(0, count, pooling)]
            with torch.no_grad():
                expected = torch.nn.functional.normalize(model.adapter(torch.stack(expected)), dim=-1)
            assert output.frame_mask[index].sum() == len(expected)
            torch.testing.assert_close(output.last_hidden_state[index, : len(expected)], expected, atol=1e-5, rtol=0)
            assert output.last_hidden_state[index, len(expected) :].abs().sum() == 0
            pooled = torch.nn.functional.normalize(expected.mean(0), dim=0)
            torch.testing.assert_close(output.pooler_output[index], pooled, atol=1e-5, rtol=0)

    def test_a_song_is_the_same_alone_and_in_any_batch(self):
        model = make_model()
        inputs, text = audio_inputs(SONGS), text_inputs([5, 9, 3])
        with torch.no_grad():
            together = model(**inputs, **text)
            for index in range(len(SONGS)):
                alone = model(**song(inputs, index), **text)
                frames, mask = together.audio_model_output.last_hidden_state, together.audio_model_output.frame_mask
                own_frames = alone.audio_model_output.last_hidden_state[0]
                assert mask[index].sum() == len(own_frames)
                torch.testing.assert_close(own_frames, frames[index, : len(own_frames)], atol=1e-5, rtol=0)
                for name in ("audio_embeds", "logits_per_audio"):
                    torch.testing.assert_close(alone[name][0], together[name][index], atol=1e-5, rtol=0)

    def test_encoders_see_only_real_chunks(self):
        model = make_model(encoder_batch_size=100)
        seen = []
        model.audio_model.speech_model.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
        with torch.no_grad():
            model.get_audio_features(**audio_inputs([FBANK_FRAMES, 4 * FBANK_FRAMES]))
        assert seen == [5]  # not 8

    def test_cached_encoder_frames_and_embeddings_give_the_same_scores(self):
        model = make_model()
        inputs, text = audio_inputs(SONGS), text_inputs([5, 9, 3])
        with torch.no_grad():
            frames, mask = model.audio_model.encode(**inputs)
            assert frames.shape == (*mask.shape, model.config.encoder_hidden_size)
            cached = model(encoder_frames=frames, frame_mask=mask, **text)
            expected = model(**inputs, **text).logits_per_audio
            scores = model.score(model.get_audio_features(**inputs), model.get_text_features(**text))
            unscored = model(**inputs, **text, return_logits=False)
        torch.testing.assert_close(cached.logits_per_audio, expected)
        torch.testing.assert_close(scores, expected)
        assert unscored.logits_per_audio is None
        torch.testing.assert_close(unscored.audio_embeds, cached.audio_embeds)

    def test_frame_and_segment_times(self):
        model = make_model(kernel_size=2, kernel_stride=2)
        times = model.frame_times(7, 1.44)  # three frames of 0.16 s in each chunk of 0.64 s
        starts = [0, 0.16, 0.32, 0.64, 0.80, 0.96, 1.28]
        torch.testing.assert_close(times[:, 0], torch.tensor(starts))
        torch.testing.assert_close(times[:, 1] - times[:, 0], torch.full((7,), 0.16))
        segments = model.segment_times(7, 1.44)
        expected = torch.tensor([[0, 0.32], [0.32, 0.80], [0.80, 1.12], [1.28, 1.44]])
        torch.testing.assert_close(segments, expected)

    def test_times_end_with_the_song(self):
        """With wide frames the last one is mostly behind the end of the song."""
        model = make_model(frame_pooling=32, kernel_size=2, kernel_stride=2)
        duration_s = model.config.chunk_length_s + 0.2
        num_frames = model.config.frames_per_chunk + 1
        assert model.frame_times(num_frames, 99.0)[-1, 1] > duration_s
        for times in (model.frame_times(num_frames, duration_s), model.segment_times(num_frames, duration_s)):
            assert times[-1, 1] == pytest.approx(duration_s)
            assert (times[:, 1] > times[:, 0]).all()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda inputs: inputs.pop("audio_attention_mask"), "audio_attention_mask is missing"),
            (lambda inputs: inputs.pop("fbank_features"), "fbank_features are missing"),
            (lambda inputs: inputs.pop("input_features"), "input_features are missing"),
            (lambda inputs: inputs["audio_attention_mask"][0].zero_(), "a song without a chunk"),
            (lambda inputs: inputs["audio_attention_mask"][3, 1, 30:].zero_(), "only the last may be short"),
            (
                lambda inputs: inputs.update(audio_attention_mask=inputs["audio_attention_mask"][..., :50]),
                r"\(batch_size, num_chunks, 62\) for chunks of 0.64 s, got \(4, 4, 50\)",
            ),
        ],
    )
    def test_errors_name_the_input(self, change, message: str):
        inputs = audio_inputs(SONGS)
        change(inputs)
        with pytest.raises(ValueError, match=message):
            make_model().get_audio_features(**inputs)

    def test_encoder_frames_need_their_mask_alone(self):
        model = make_model()
        frames = torch.randn(1, 3, model.config.encoder_hidden_size)
        with pytest.raises(ValueError, match="frame_mask is missing"):
            model.get_audio_features(encoder_frames=frames)
        with pytest.raises(ValueError, match="encoder_frames replace fbank_features"):
            model.get_audio_features(
                encoder_frames=frames, frame_mask=torch.ones(1, 3), **audio_inputs([FBANK_FRAMES])
            )


class TestInputs:
    def test_each_half_takes_the_whole_batch(self):
        model = make_model(text_granularity="sentence")
        batch = {**audio_inputs(SONGS[:2]), **text_inputs([5, 3, 4], [2, 1]), "song_ids": torch.tensor([1, 2])}
        with torch.no_grad():
            audio, text = model.get_audio_features(**batch), model.get_text_features(**batch)
            torch.testing.assert_close(model.score(audio, text), model(**batch).logits_per_audio)
            torch.testing.assert_close(model.audio_model.encode(**batch)[1], audio.frame_mask)

    def test_songs_that_were_encoded_one_at_a_time_are_scored_as_a_list(self):
        model = make_model()
        inputs, texts = audio_inputs(SONGS), text_inputs([5, 9])
        with torch.no_grad():
            text = model.get_text_features(**texts)
            songs = [model.get_audio_features(**song(inputs, index)) for index in range(len(SONGS))]
            torch.testing.assert_close(model.score(songs, text), model(**inputs, **texts).logits_per_audio)

    def test_a_last_chunk_without_a_vector_may_be_alone_in_its_part(self):
        model = make_model(encoder_batch_size=1)
        whole, rest = audio_inputs([FBANK_FRAMES + 5]), slice(0, 1)
        with torch.no_grad():
            audio = model.get_audio_features(**whole)
            expected = model.get_audio_features(**{name: value[:, rest] for name, value in whole.items()})
        torch.testing.assert_close(audio.last_hidden_state, expected.last_hidden_state)

    def test_features_of_another_shape_are_refused(self):
        inputs = audio_inputs(SONGS, num_mel_bins=128)
        with pytest.raises(ValueError, match=r"input_features must have the shape .* by the configuration of the spe"):
            make_model().get_audio_features(**inputs)

    @pytest.mark.parametrize("name", ["fbank_features", "audio_attention_mask", "input_ids", "attention_mask"])
    def test_arrays_are_refused(self, name: str):
        inputs = {**audio_inputs(SONGS), **text_inputs([5, 3, 4, 2])}
        with pytest.raises(TypeError, match=rf'{name} must be a torch.Tensor, got ndarray: .* return_tensors="pt"'):
            make_model()(**{**inputs, name: inputs[name].numpy()})

    @pytest.mark.parametrize("name", ["encoder_frames", "frame_mask"])
    def test_arrays_of_cached_frames_are_refused(self, name: str):
        model = make_model().audio_model
        inputs = {"encoder_frames": torch.randn(1, 3, 28), "frame_mask": torch.ones(1, 3)}
        with pytest.raises(TypeError, match=f"{name} must be a torch.Tensor, got ndarray"):
            model(**{**inputs, name: inputs[name].numpy()})

    def test_features_that_no_encoder_takes_are_named(self, monkeypatch):
        messages = []
        monkeypatch.setattr(modeling_collap_audio.logger, "warning_once", messages.append)
        make_model(music_config=None).get_audio_features(**audio_inputs(SONGS))
        assert ["fbank_features are not used" in message for message in messages] == [True]

    def test_sharded_layers_of_an_encoder_are_named(self, monkeypatch):
        messages = []
        monkeypatch.setattr(modeling_collap_audio.logger, "warning_once", messages.append)
        model = make_model(speech_config=None)
        next(model.audio_model.music_model.parameters()).ds_id = 0  # the mark of ZeRO-3
        model.get_audio_features(**{**audio_inputs(SONGS[:1]), "input_features": None})
        assert ["sharded over processes" in message for message in messages] == [True]

    @pytest.mark.parametrize("mask", [[[0, 1, 1]], [[1, 0, 1]], [[0, 0, 0]]])
    def test_real_frames_come_first(self, mask: list[list[int]]):
        model = make_model()
        frames = torch.randn(1, 3, model.config.encoder_hidden_size)
        with pytest.raises(ValueError, match="frame_mask must be 1 for the frames of a song"):
            model.get_audio_features(encoder_frames=frames, frame_mask=torch.tensor(mask))


class TestTemperature:
    def test_the_logarithm_is_checked(self):
        with pytest.raises(
            StrictDataclassError, match=r"logarithm of the factor and must be at most log\(100\) = 4.605"
        ):
            tiny_config(logit_scale_init_value=14.3)

    def test_a_weight_beyond_the_limit_comes_back(self):
        model = make_model()
        model.logit_scale.weight.data.fill_(5.0)  # exp(5) = 148
        optimizer = torch.optim.SGD(model.logit_scale.parameters(), lr=1e-3)
        for _ in range(10):  # its gradient is that at the limit, 100
            optimizer.zero_grad()
            factor = model.logit_scale()
            assert factor.item() == pytest.approx(100)
            factor.backward()
            optimizer.step()
            if model.logit_scale.weight.item() < math.log(100):
                break
        assert model.logit_scale().item() < 100

    def test_small_steps_move_it_in_half_precision(self, tmp_path):
        make_model().save_pretrained(tmp_path)
        model = CollapModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
        before = model.logit_scale.weight.item()
        optimizer = torch.optim.SGD(model.logit_scale.parameters(), lr=1e-4)
        for _ in range(200):
            model.logit_scale.weight.grad = torch.ones(1)
            optimizer.step()
        assert model.logit_scale.weight.item() == pytest.approx(before - 0.02, abs=1e-4)


class TestText:
    @pytest.mark.parametrize("pooling", [None, "mean"])
    @pytest.mark.parametrize("text", ["roberta", "gpt2", "xlm-roberta"])
    def test_padding_changes_nothing(self, text: str, pooling: str | None):
        model = make_model(text=text, text_pooling=pooling)
        inputs = text_inputs([9, 4, 6])
        with torch.no_grad():
            together = model.get_text_features(**inputs)
            for index, length in enumerate([9, 4, 6]):
                alone = model.get_text_features(inputs["input_ids"][index : index + 1, :length])
                torch.testing.assert_close(alone.pooler_output[0], together.pooler_output[index], atol=1e-5, rtol=0)

    @pytest.mark.parametrize("text", ["roberta", "gpt2"])
    def test_grouping_by_length_changes_nothing_but_the_time(self, text: str):
        model = make_model(text=text)
        lengths = torch.randint(2, 30, (70,)).tolist()
        inputs = text_inputs(lengths)
        seen = []
        hook = model.text_model.encoder.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
        )
        grouped = model.get_text_features(**inputs)
        assert len(seen) == 4
        assert sum(seen) < 0.75 * inputs["input_ids"].numel()
        hook.remove()
        whole = model.get_text_features(**inputs, output_hidden_states=True)
        torch.testing.assert_close(grouped.query_embeds, whole.query_embeds, atol=1e-5, rtol=0)
        mask = inputs["attention_mask"].bool()
        torch.testing.assert_close(
            grouped.last_hidden_state[mask], whole.last_hidden_state[mask], atol=1e-5, rtol=1e-5
        )
        weights = torch.randn_like(grouped.query_embeds)
        parameters = [p for p in model.text_model.encoder.parameters() if p.requires_grad]
        gradients = [
            torch.autograd.grad((output.query_embeds * weights).sum(), parameters, allow_unused=True)
            for output in (grouped, whole)
        ]
        for fast, slow in zip(*gradients, strict=True):
            torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-4)

    def test_tokens_are_pooled_by_hand(self):
        states = torch.tensor([[[9.0], [9.0], [1.0], [5.0]], [[2.0], [4.0], [6.0], [9.0]]])
        mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])  # padded on the left, and on the right
        for pooling, expected in {"first": [1.0, 2.0], "last": [5.0, 6.0], "mean": [3.0, 4.0]}.items():
            assert pool_tokens(states, mask, pooling).flatten().tolist() == expected

    @pytest.mark.parametrize(
        ("granularity", "counts", "message"),
        [
            ("sentence", [2, 2], r"sum to the rows of input_ids \(3\)"),
            ("sentence", [3, 0], r"sum to the rows of input_ids \(3\)"),
            ("document", [1, 2], "is 'document'"),
        ],
    )
    def test_sentence_counts_must_fit(self, granularity: str, counts: list[int], message: str):
        with pytest.raises(ValueError, match=message):
            make_model(text_granularity=granularity).get_text_features(**text_inputs([3, 4, 5], counts))

    def test_the_text_vector_is_the_mean_of_the_sentences(self):
        with torch.no_grad():
            output = make_model(text_granularity="sentence").get_text_features(**text_inputs([3, 4, 5], [2, 1]))
        expected = torch.nn.functional.normalize(output.query_embeds[:2].mean(0), dim=0)
        torch.testing.assert_close(output.pooler_output[0], expected)
        torch.testing.assert_close(output.pooler_output[1], output.query_embeds[2])


class TestTime:
    @pytest.fixture
    def model(self) -> CollapModel:
        return make_model(text_granularity="sentence", temporal_position=True)

    def test_one_sentence_has_no_order(self, model: CollapModel):
        with torch.no_grad():
            text = model.get_text_features(**text_inputs([3, 4, 5], [1, 2]))
        assert text.time_query_embeds[0].abs().max() == 0
        assert text.time_query_embeds[1:].abs().min(-1).values.max() > 0

    def test_order_changes_the_time_but_not_the_content(self, model: CollapModel):
        inputs = text_inputs([5, 5, 5], [3])
        order = torch.tensor([2, 0, 1])
        shuffled = {**inputs, "input_ids": inputs["input_ids"][order]}
        with torch.no_grad():
            ordered, mixed = model.get_text_features(**inputs), model.get_text_features(**shuffled)
            audio = model.get_audio_features(**audio_inputs(SONGS))
            torch.testing.assert_close(mixed.query_embeds, ordered.query_embeds[order])
            assert (mixed.time_query_embeds - ordered.time_query_embeds[order]).abs().max() > 1e-2
            assert (model.score(audio, ordered) - model.score(audio, mixed)).abs().max() > 1e-4
            timeless = model.score(audio, ordered, use_time=False)
            torch.testing.assert_close(timeless, model.score(audio, mixed, use_time=False))

    def test_a_text_is_the_same_alone_and_in_any_batch(self, model: CollapModel):
        inputs = text_inputs([5, 6, 7, 4, 3, 8], [2, 1, 3])
        with torch.no_grad():
            together = model.get_text_features(**inputs)
            alone = model.get_text_features(
                inputs["input_ids"][3:], inputs["attention_mask"][3:], sentence_counts=torch.tensor([3])
            )
        torch.testing.assert_close(alone.time_query_embeds, together.time_query_embeds[3:], atol=1e-5, rtol=0)

    def test_time_is_relative_to_the_song_not_to_the_batch(self, model: CollapModel):
        inputs, text = audio_inputs(SONGS), text_inputs([5, 6, 7], [3])
        with torch.no_grad():
            together = model(**inputs, **text).logits_per_audio
            alone = [model(**song(inputs, index), **text).logits_per_audio for index in range(len(SONGS))]
        torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=0)


class TestScoresAndLoss:
    def test_logits_loss_and_scale(self):
        model = make_model()
        output = model(**audio_inputs(SONGS), **text_inputs([5, 9, 3, 4]), return_loss=True)
        assert output.logits_per_audio.shape == (4, 4)
        torch.testing.assert_close(output.logits_per_text, output.logits_per_audio.T)
        rows = -output.logits_per_audio.log_softmax(1).diag().mean()
        columns = -output.logits_per_audio.log_softmax(0).diag().mean()
        torch.testing.assert_close(output.loss, (rows + columns) / 2)
        model.logit_scale.weight.data.fill_(10.0)  # exp(10) is far over the limit of 100
        with torch.no_grad():
            louder = model(**audio_inputs(SONGS), **text_inputs([5, 9, 3, 4]))
        assert louder.logits_per_audio.abs().max() <= 100.001

    def test_the_loss_by_hand(self):
        # Rows [0, log 3] and [log 3, 0]: the right answer has probability 1/4 in each row and each column.
        logits = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]])
        torch.testing.assert_close(contrastive_loss(logits), torch.tensor(math.log(4)))
        # And the two directions are not the same thing: [[log 3, log 3], [0, 0]].
        logits = torch.tensor([[math.log(3), math.log(3)], [0.0, 0.0]])
        rows, columns = math.log(2), (math.log(4 / 3) + math.log(4)) / 2
        torch.testing.assert_close(contrastive_loss(logits), torch.tensor((rows + columns) / 2))

    def test_what_shares_a_song_or_a_text_is_no_negative(self):
        # Pairs 0 and 1 are one song with two texts: each has one negative in the third, which has two.
        logits = torch.zeros(3, 3)
        song_ids = torch.tensor([7, 7, 8])
        expected = torch.tensor((2 * math.log(2) + math.log(3)) / 3)
        torch.testing.assert_close(contrastive_loss(logits, song_ids=song_ids), expected)
        torch.testing.assert_close(contrastive_loss(logits, text_ids=song_ids), expected)
        # The first two songs score their two texts equally: the loss is 0.
        logits = torch.tensor([[50.0, 50.0, 0.0], [50.0, 50.0, 0.0], [0.0, 0.0, 50.0]])
        torch.testing.assert_close(contrastive_loss(logits, song_ids=song_ids), torch.tensor(0.0))
        torch.testing.assert_close(contrastive_loss(logits), torch.tensor(2 / 3 * math.log(2)))
        # Song 0 has texts a and b, song 1 has text a too: only song 1 and text b are negatives, (1, 2) and (2, 1).
        ids = {"song_ids": torch.tensor([0, 0, 1]), "text_ids": torch.tensor([5, 6, 5])}
        logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, -math.log(2), 0.0]])
        rows = (0 + math.log(2) + math.log(1.5)) / 3
        columns = (0 + math.log(1.5) + math.log(2)) / 3
        torch.testing.assert_close(contrastive_loss(logits, **ids), torch.tensor((rows + columns) / 2))

    def test_pairs_without_negatives_have_no_gradient(self):
        logits = torch.randn(3, 3, requires_grad=True)
        loss = contrastive_loss(logits, song_ids=torch.tensor([1, 1, 1]))
        loss.backward()
        assert loss == 0
        assert logits.grad.abs().max() == 0

    def test_it_is_torch_s_cross_entropy_where_all_differ(self):
        logits = (100 * torch.randn(9, 9)).requires_grad_()
        targets = torch.arange(9)
        cross_entropy = torch.nn.functional.cross_entropy
        expected = (cross_entropy(logits, targets) + cross_entropy(logits.T, targets)) / 2
        (gradient,) = torch.autograd.grad(expected, logits)
        loss = contrastive_loss(logits, torch.arange(9), torch.arange(9) + 5)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], gradient)

    def test_the_model_takes_ids_to_its_loss(self):
        model = make_model()
        inputs = {**audio_inputs(SONGS), **text_inputs([5, 9, 3, 4])}
        ids = {"song_ids": torch.tensor([1, 2, 2, 3]), "text_ids": torch.tensor([4, 5, 6, 4])}
        output = model(**inputs, **ids, return_loss=True)
        torch.testing.assert_close(output.loss, contrastive_loss(output.logits_per_audio, **ids))
        assert abs(output.loss - contrastive_loss(output.logits_per_audio)) > 1e-4
        assert output.logit_scale == model.logit_scale()
        with pytest.raises(ValueError, match=r"song_ids must hold one id for each of the 4 pairs, got \(3,\)"):
            model(**inputs, song_ids=torch.tensor([1, 2, 3]), return_loss=True)

    def test_one_side_alone_is_told_what_to_call(self):
        with pytest.raises(ValueError, match=r"^Songs are missing\. .* get_text_features or AutoModelForTextEncoding"):
            make_model()(**text_inputs([5]))
        with pytest.raises(
            ValueError, match=r"^Texts are missing\. .* get_audio_features or AutoModelForAudioXVector"
        ):
            make_model()(**audio_inputs(SONGS))

    def test_unequal_numbers_have_no_loss(self):
        model = make_model()
        inputs = {**audio_inputs(SONGS), **text_inputs([5, 9, 3])}
        assert model(**inputs).logits_per_audio.shape == (4, 3)
        with pytest.raises(ValueError, match="got 4 songs and 3 texts"):
            model(**inputs, return_loss=True)
        with pytest.raises(ValueError, match="got return_logits=False"):
            model(**inputs, return_loss=True, return_logits=False)

    def test_a_section_query_is_the_temporal_alignment_of_the_mean_sentence(self):
        """Both segments have a frame of each sentence, but only the second has one of both at once."""
        model = CollapModel(tiny_config(text_granularity="sentence", kernel_size=2, kernel_stride=2)).eval()
        model.config.kernel_weight, model.config.temporal_weight = 0.3, 0.7
        root = 0.5**0.5
        frames = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [root, root], [root, root]]])
        audio = CollapAudioOutput(last_hidden_state=frames, frame_mask=torch.ones(1, 4, dtype=torch.bool))
        text = CollapTextOutput(query_embeds=torch.tensor([[1.0, 0.0], [0.0, 1.0]]), sentence_counts=torch.tensor([2]))
        # The mean sentence has cosines root, root | 1, 1: segment scores root and 1, with weights as
        # exp(10 root) to exp(10), since the temporal temperature is 0.1.
        weight = 1 / (1 + math.exp(10 * (root - 1)))
        expected = (1 - weight) * root + weight
        assert model.similarity(audio, text, section_query=True).item() == pytest.approx(expected, abs=1e-6)
        assert model.similarity(audio, text).item() != pytest.approx(expected, abs=1e-2)

    def test_attentions_on_request(self):
        model = make_model(kernel_size=3, kernel_stride=2)
        inputs = {**audio_inputs(SONGS), **text_inputs([5, 9, 3])}
        with torch.no_grad():
            output = model(**inputs, output_attentions=True)
            assert model(**inputs).kernel_attentions is None
        # 3 frames a chunk: songs of 8, 1, 3 and 12 frames; the longest has 6 segments.
        assert output.kernel_attentions.shape == (4, 3, 6, 3)
        assert output.temporal_attentions.shape == (4, 3, 6)
        torch.testing.assert_close(output.kernel_attentions.sum(-1), torch.ones(4, 3, 6))
        torch.testing.assert_close(output.temporal_attentions.sum(-1), torch.ones(4, 3))
        assert output.temporal_attentions[1, :, 1:].abs().max() == 0  # a song of one segment


class TestTraining:
    def test_frozen_encoders_have_no_graph_and_stay_in_evaluation_mode(self):
        model = make_model(freeze_speech_model=False).train()
        assert not model.audio_model.music_model.training
        assert model.audio_model.speech_model.training
        assert model.text_model.training
        music = model.get_audio_features(**audio_inputs(SONGS), output_hidden_states=True).music_model_output
        assert not music.last_hidden_state.requires_grad
        model(**audio_inputs(SONGS), **text_inputs([3, 4, 5, 6]), return_loss=True).loss.backward()
        assert all(parameter.grad is None for parameter in model.audio_model.music_model.parameters())
        assert model.audio_model.speech_model.conv1.weight.grad.abs().max() > 0

    def test_frozen_encoders_pass_on_the_gradient_of_their_input(self):
        model = make_model(encoder_batch_size=2)
        inputs = audio_inputs(SONGS)
        features = [inputs["fbank_features"].requires_grad_(), inputs["input_features"].requires_grad_()]
        loss = model.get_audio_features(**inputs).pooler_output.square().sum(-1).sqrt()[0]
        (loss + model.get_audio_features(**inputs).last_hidden_state[:, 0, 0].sum()).backward()
        assert all(own.grad.abs().max() > 0 for own in features)

    def test_an_unfrozen_encoder_is_loaded_unfrozen(self, tmp_path):
        model = make_model()
        model.audio_model.music_model.requires_grad_(True)
        model.save_pretrained(tmp_path)
        loaded = CollapModel.from_pretrained(tmp_path)
        assert loaded.audio_model.music_model.encoder.layers[0].fc1.weight.requires_grad
        assert not loaded.audio_model.speech_model.conv1.weight.requires_grad

    def test_every_parameter_gets_a_gradient_without_time_too(self):
        model = make_model(text_granularity="sentence", temporal_position=True)
        inputs = {**audio_inputs(SONGS), **text_inputs([3, 4, 5, 6, 7], [1, 1, 2, 1])}
        output = model(**inputs, return_loss=True, use_time=False)
        output.loss.backward()
        assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
        with torch.no_grad():
            expected = model.score(output.audio_model_output, output.text_model_output, use_time=False)
        torch.testing.assert_close(output.logits_per_audio, expected)

    def test_a_trainable_part_of_a_frozen_encoder_gets_its_gradient(self):
        model = make_model().train()
        weight = model.audio_model.music_model.encoder.layers[0].final_layer_norm.weight
        weight.requires_grad_(True)
        model(**audio_inputs(SONGS), **text_inputs([3, 4, 5, 6]), return_loss=True).loss.backward()
        assert weight.grad.abs().max() > 0

    def test_every_trainable_parameter_gets_a_gradient(self):
        """A parameter without one stops DistributedDataParallel."""
        model = make_model(
            freeze_music_model=False, freeze_speech_model=False, text_granularity="sentence", temporal_position=True
        )
        model(**audio_inputs(SONGS), **text_inputs([3, 4, 5, 6, 7], [1, 1, 2, 1]), return_loss=True).loss.backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []

    def test_gradient_checkpointing_gives_the_same_gradients(self):
        inputs = {**audio_inputs(SONGS), **text_inputs([3, 4, 5, 6]), "return_loss": True}
        gradients = []
        for checkpointing in (False, True):
            model = make_model(freeze_music_model=False, freeze_speech_model=False).train()
            if checkpointing:
                model.activation_checkpointing_enable()
                assert model.audio_model.music_model.is_activation_checkpointing
            model(**inputs).loss.backward()
            gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=0)

    @pytest.mark.parametrize("dropout", [0.0, 0.1])
    def test_recomputed_parts_of_a_song_give_the_gradients_of_the_whole(self, dropout: float):
        """More parts than one are computed again on the way back; the reference keeps every activation."""

        def gradients(recompute: bool) -> dict[str, torch.Tensor]:
            unfrozen = {"freeze_music_model": False, "freeze_speech_model": False, "encoder_batch_size": 2}
            model = make_model(**unfrozen).train()
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = dropout
            if not recompute:
                model.audio_model._needs_graph = lambda *features: False
            torch.manual_seed(1)
            output = model(**audio_inputs(SONGS), **text_inputs([5, 9, 3, 4]), return_loss=True)
            output.loss.backward()
            return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}

        ours, reference = gradients(True), gradients(False)
        assert any(name.startswith("audio_model.music_model") for name in ours)
        assert ours.keys() == reference.keys()
        for name, gradient in reference.items():
            torch.testing.assert_close(
                ours[name], gradient, atol=1e-7, rtol=1e-5, msg=lambda text, n=name: f"{n} {text}"
            )


class TestFingerprint:
    """Songs and texts of one model are not scored by another."""

    def encode(self, model: CollapModel) -> tuple[CollapAudioOutput, CollapTextOutput]:
        with torch.no_grad():
            return model.get_audio_features(**audio_inputs(SONGS)), model.get_text_features(**text_inputs([5, 9]))

    def test_other_models_are_refused(self):
        model, other = make_model(), make_model()
        with torch.no_grad():
            other.text_model.projection.weight.add_(0.1)
        songs = self.encode(model)[0]
        for score in (model.score, model.similarity, model.attend):
            with pytest.raises(ValueError, match=r"^The texts were encoded by other weights"):
                score(songs, self.encode(other)[1])
        with torch.no_grad():
            other.audio_model.adapter.weight.add_(0.1)
        with pytest.raises(ValueError, match=r"^The songs were encoded by other weights"):
            other.score(songs, self.encode(other)[1])

    def test_a_step_of_a_training_changes_it(self):
        model = make_model()
        songs, texts = self.encode(model)
        assert model.score([songs, songs], texts).shape == (2 * len(SONGS), 2)
        optimizer = torch.optim.SGD(model.audio_model.adapter.parameters(), lr=1.0)
        model(**audio_inputs(SONGS), **text_inputs([5, 9, 3, 2]), return_loss=True).loss.backward()
        optimizer.step()
        with pytest.raises(ValueError, match=r"^The songs were encoded by other weights"):
            model.score(songs, texts)
        songs.model_fingerprint = None  # whoever has reasons to compare them may
        model.score(songs, texts)

    def test_precision_does_not_change_it(self):
        model, half = make_model(), make_model().to(torch.bfloat16)
        own, other = self.encode(model), self.encode(half)
        for output, of_half in zip(own, other, strict=True):
            assert torch.equal(output.model_fingerprint.unique(), of_half.model_fingerprint.unique())
        assert half.score(own[0], other[1]).isfinite().all()

    def test_outputs_are_saved_and_loaded(self, tmp_path):
        model = make_model()
        songs, texts = self.encode(model)
        expected = model.score(songs, texts)
        torch.save(dict(songs), tmp_path / "songs.pt")
        contiguous = {name: value.contiguous() for name, value in texts.items()}
        save_file(contiguous, tmp_path / "texts.safetensors")
        songs = CollapAudioOutput(**torch.load(tmp_path / "songs.pt"))
        texts = CollapTextOutput(**load_file(tmp_path / "texts.safetensors"))
        torch.testing.assert_close(model.score(songs, texts), expected)
        assert songs.model_fingerprint is not None

    def test_a_training_does_without(self):
        output = make_model().train()(**audio_inputs(SONGS), **text_inputs([5, 9, 3, 2]))
        assert "model_fingerprint" not in output.audio_model_output
