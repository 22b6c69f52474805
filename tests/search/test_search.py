# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A search ranks by the model's own scores, weighs, filters, excludes, and says where."""

import math

import numpy as np
import pytest
import torch
from tiny_library import save_tiny_model, write_tagged

from collap.search import search as search_module
from collap.search.calibration import ScoreFit
from collap.search.index import SongIndex
from collap.search.query import Query

STORY = "A slow piano. Then drums. A fast bass."
SECTION = "a choir sings"


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for number in range(8):
        path = folder / ("even" if number % 2 == 0 else "odd") / f"{number}.wav"
        write_tagged(path, 2.0 + number, number, title=f"Song {number}", artist="Ann" if number < 4 else "BOB")
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory, model, songs) -> SongIndex:
    index = SongIndex.create(tmp_path_factory.mktemp("index") / "index", model)
    index.update([songs])
    return index


def scores_of(index: SongIndex, text: str, **options) -> dict[str, float]:
    """What the model says of each song, each alone: the reference."""
    retriever = index.retriever
    (sentences,) = retriever.processor.split_texts([text])
    with torch.inference_mode():
        texts = retriever.embed_texts([sentences]).output
        songs = {song: retriever.as_batch([index.frames(song)]) for song in index.songs}
        return {song: float(retriever.model.similarity(audio, texts, **options)) for song, audio in songs.items()}


def found(result) -> dict[str, float]:
    return {match.song.id: match.score for match in result.matches}


@pytest.mark.parametrize(
    ("query", "text", "options"),
    [
        (Query([STORY]), STORY, {}),
        (Query([STORY], any_order=True), STORY, {"use_time": False}),
        (Query([STORY], section=True), STORY, {"section_query": True}),
        (Query([SECTION]), SECTION, {"section_query": True}),  # one sentence
    ],
)
def test_songs_are_ranked_by_the_score_of_the_model(index, query, text, options):
    reference = scores_of(index, text, **options)
    result = index.search(query)
    assert found(result) == pytest.approx(reference, abs=1e-6)
    scores = [match.score for match in result.matches]
    assert scores == sorted(scores, reverse=True)
    assert (result.num_songs, result.is_match, list(result.damaged)) == (8, None, [])


def test_one_long_sentence_is_searched_by_its_clauses(index):
    text = "A slow piano, then drums; later a fast bass."
    result = index.search(Query([text]))
    with torch.inference_mode():
        queries = index.retriever.embed_texts([["A slow piano", "then drums", "later a fast bass."]])
        expected = {song: float(index.retriever.score([index.frames(song)], queries)[0, 0]) for song in index.songs}
    assert found(result) == pytest.approx(expected, abs=1e-6)
    assert result.sentences == ["A slow piano", "then drums", "later a fast bass."]
    assert result.split_texts == [text]
    whole = index.search(Query([text], section=True))
    assert (whole.sentences, whole.split_texts) == ([text], [])
    assert found(whole) == pytest.approx(scores_of(index, text, section_query=True), abs=1e-6)


@pytest.mark.parametrize(("option", "value"), [("language", "de"), ("text_granularity", "document")])
def test_a_sentence_is_not_split_where_clauses_are_unknown(index, monkeypatch, option, value):
    monkeypatch.setattr(index.retriever.processor, option, value)
    text = "A slow piano, then drums; later a fast bass."
    result = index.search(Query([text]))
    assert (result.sentences, result.split_texts) == ([text], [])


def test_a_model_of_whole_texts_has_one_way_to_score_them(index, tmp_path_factory, songs, monkeypatch):
    options = {"text_granularity": "document", "temporal_position": False}
    model = save_tiny_model(tmp_path_factory.mktemp("document"), **options)
    of_texts = SongIndex.create(tmp_path_factory.mktemp("document-index") / "index", model)
    of_texts.update([songs])
    monkeypatch.setattr(of_texts, "calibration", {"caption": ScoreFit(0.5, 1.0), "section": ScoreFit(0.25, -1.0)})
    result = of_texts.search(Query([STORY], exclude=["drums"]))
    scores = np.array(
        [
            [float(score) for score in texts.values()]
            for texts in (scores_of(of_texts, STORY), scores_of(of_texts, "drums"))
        ]
    )
    assert found(result) == pytest.approx(dict(zip(of_texts.songs, scores[0] - scores[1], strict=True)), abs=1e-6)
    expected = dict(zip(of_texts.songs, ScoreFit(0.5, 1.0).probability(scores[0], 8), strict=True))
    assert {match.song.id: match.probability for match in result.matches} == pytest.approx(expected)
    for option in ("any_order", "section"):
        with pytest.raises(ValueError, match="one vector for a whole description"):
            of_texts.search(Query([STORY], **{option: True}))


def test_candidates_are_those_of_the_first_stage(index, monkeypatch):
    monkeypatch.setattr(search_module, "NUM_CANDIDATES", 3)
    expected = search_module.Description(index.retriever, STORY, "caption").candidates(index.first_stage, 3, None)
    assert set(found(index.search(Query([STORY], top=3)))) == set(expected)
    assert len(index.search(Query([STORY], top=5)).matches) == 5  # more are scored if more are asked for
    odd = {song.id for song in index.songs.values() if "/odd/" in song.path}
    inside = index.search(
        Query([STORY], folder=next(iter(index.songs.values())).path.rpartition("/")[0][:-4] + "odd", top=3)
    )
    assert len(inside.matches) == 3
    assert set(found(inside)) < odd or set(found(inside)) == odd


def test_several_descriptions_are_weighed(index):
    first, second = scores_of(index, STORY), scores_of(index, SECTION, section_query=True)
    expected = {song: (3 * first[song] + second[song]) / 4 for song in first}
    assert found(index.search(Query([STORY, SECTION], weights=[3, 1]))) == pytest.approx(expected, abs=1e-6)
    expected = {song: (first[song] + second[song]) / 2 for song in first}
    assert found(index.search(Query([STORY, SECTION]))) == pytest.approx(expected, abs=1e-6)
    assert found(index.search(Query([STORY, SECTION], weights=[0, 1]))) == pytest.approx(second, abs=1e-6)


def test_what_is_excluded_is_subtracted(index):
    story, drums = scores_of(index, STORY), scores_of(index, "drums", section_query=True)
    expected = {song: story[song] - drums[song] for song in story}
    assert found(index.search(Query([STORY], exclude=["drums"]))) == pytest.approx(expected, abs=1e-6)

    section = scores_of(index, SECTION, section_query=True)  # one sentence, but anywhere in the song
    expected = {song: section[song] - drums[song] for song in section}
    assert found(index.search(Query([SECTION], exclude=["drums"]))) == pytest.approx(expected, abs=1e-6)


def test_what_is_excluded_of_a_section_counts_where_the_section_is(index):
    """The attention of a section, by hand, over the scores of what is excluded; of several sections the highest."""
    sections = [SECTION, "a fast piano"]
    one, two, swapped = (
        found(index.search(Query(texts, section=True, exclude=["drums"])))
        for texts in (sections[:1], sections, sections[::-1])
    )
    assert swapped == pytest.approx(two, abs=1e-6)
    retriever = index.retriever
    *wanted, unwanted = (retriever.embed_texts([[text]]).output for text in (*sections, "drums"))
    scores = [scores_of(index, text, section_query=True) for text in sections]
    for song in index.songs:
        audio = retriever.as_batch([index.frames(song)])
        with torch.inference_mode():
            there = retriever.model.attend(audio, unwanted, use_time=False).segment_scores[0, 0]
            places = [retriever.model.attend(audio, text, use_time=False).temporal_attentions[0, 0] for text in wanted]
        excluded = [float((where * there).sum()) for where in places]
        assert one[song] == pytest.approx(scores[0][song] - excluded[0], abs=1e-6)
        assert two[song] == pytest.approx((scores[0][song] + scores[1][song]) / 2 - max(excluded), abs=1e-6)


@pytest.mark.parametrize(
    ("filters", "titles"),
    [
        ({"title": "song 3"}, {"Song 3"}),
        ({"artist": "bob"}, {"Song 4", "Song 5", "Song 6", "Song 7"}),
        ({"album": "any"}, set()),
        ({"min_length_s": 3.5, "max_length_s": 5.5}, {"Song 2", "Song 3"}),
        ({"artist": "ann", "min_length_s": 4.5}, {"Song 3"}),
    ],
)
def test_filters(index, filters, titles):
    result = index.search(Query([STORY], **filters))
    assert {match.song.title for match in result.matches} == titles
    assert result.num_songs == len(titles)


def test_the_folder_filter_has_no_namesakes(index, songs):
    assert index.search(Query([STORY], folder=str(songs / "even"))).num_songs == 4
    assert index.search(Query([STORY], folder=str(songs / "eve"))).num_songs == 0
    assert index.search(Query([STORY], folder=str(songs))).num_songs == 8
    assert index.search(Query([STORY], folder=str(songs / "odd" / ".." / "even"))).num_songs == 4


def test_each_sentence_has_a_span_inside_the_song(index):
    for query, sentences in ((Query([STORY]), 3), (Query([STORY], any_order=True), 3), (Query([SECTION]), 1)):
        for match in index.search(query).matches:
            assert len(match.spans) == sentences
            assert all(0 <= span.start_s < span.end_s <= match.song.duration_s for span in match.spans)
        starts = [span.start_s for span in match.spans]
        if not query.any_order:
            assert starts == sorted(starts)


def test_a_part_of_a_song_finds_its_song_and_its_place(index):
    song = next(song for song in index.songs.values() if song.title == "Song 7")  # 9 s
    best = index.search(Query(like=song.path, like_span_s=(4.0, 8.0))).matches[0]
    assert best.song.id == song.id
    assert best.spans[0].start_s == pytest.approx(4.0, abs=0.5)
    whole = index.search(Query(like=song.path)).matches[0]
    assert whole.song.id == song.id
    assert whole.score == pytest.approx(1.0, abs=1e-3)


def test_a_file_that_is_no_audio_as_query(index, tmp_path):
    (tmp_path / "text.mp3").write_text("hello")
    for span in ((None, None), (0.5, 1.0)):
        with pytest.raises(ValueError, match=r"text\.mp3"):
            index.search(Query(like=str(tmp_path / "text.mp3"), like_span_s=span))


def test_a_match_has_the_cosines_of_all_frames(index):
    result = index.search(Query([STORY, SECTION], any_order=True))
    assert result.sentences == ["A slow piano.", "Then drums.", "A fast bass.", SECTION]
    queries = index.retriever.embed_texts([[sentence] for sentence in result.sentences]).output.query_embeds.numpy()
    for match in result.matches:
        frames = index.frames(match.song.id)
        np.testing.assert_allclose(match.similarities, queries @ frames.T, atol=1e-6)
        assert match.times.shape == (len(frames), 2)


def test_probabilities_are_those_of_the_calibration(index, monkeypatch):
    """By hand: of odds against "nothing", exp(score / T + b) / N, where N songs were searched."""
    story, section = scores_of(index, STORY), scores_of(index, SECTION, section_query=True)
    fits = {"caption": ScoreFit(0.5, 1.0), "section": ScoreFit(0.25, -1.0)}
    monkeypatch.setattr(index, "calibration", fits)
    monkeypatch.setattr(search_module, "NUM_CANDIDATES", 100)

    def by_hand(scores, temperature, bias):
        odds = {song: math.exp(score / temperature + bias) / 8 for song, score in scores.items()}
        return {song: own / (1 + sum(odds.values())) for song, own in odds.items()}

    one, other = by_hand(story, 0.5, 1.0), by_hand(section, 0.25, -1.0)
    result = index.search(Query([STORY]))
    assert {match.song.id: match.probability for match in result.matches} == pytest.approx(one)
    assert result.is_match == (sum(one.values()) >= 0.5)
    monkeypatch.setattr(index, "calibration", {"caption": ScoreFit(10.0, 1.0)})  # 8 songs of about 1/11 each
    shown = [index.search(Query([STORY], top=top)) for top in (1, 8)]
    assert [result.is_match for result in shown] == [True, True]  # whatever is shown
    assert shown[0].matches[0].probability < 0.5
    monkeypatch.setattr(index, "calibration", fits)
    both = index.search(Query([STORY, SECTION], exclude=["drums"]))
    expected = {song: min(one[song], other[song]) for song in one}
    assert {match.song.id: match.probability for match in both.matches} == pytest.approx(expected)
    assert index.search(Query([STORY], any_order=True)).matches[0].probability is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "nothing to search for: give a description"),
        ({"texts": "a piano"}, "must be a list of texts"),
        ({"texts": ["a piano", "  "]}, "A text must not be empty"),
        ({"texts": ["a piano"], "exclude": [""]}, "A text must not be empty"),
        ({"texts": ["a piano"], "weights": [1, 2]}, "Weights must be one number for each description"),
        ({"texts": ["a piano"], "weights": [-1]}, "at least 0"),
        ({"texts": ["a piano"], "weights": [0]}, "not all 0"),
        ({"texts": ["a piano", "drums"], "weights": [1, math.nan]}, "Weights must be"),
        ({"texts": ["a piano", "drums"], "weights": [math.inf, 1]}, "Weights must be"),
        ({"texts": ["a piano"], "any_order": True, "section": True}, "not both"),
        ({"like": "a.wav", "section": True}, "Audio is neither"),
        ({"like": "a.wav", "any_order": True}, "Audio is neither"),
        ({"like": "a.wav", "like_span_s": (5, 2)}, "a start and a later end"),
        ({"like": "a.wav", "like_span_s": (-1, 2)}, "a start and a later end"),
        ({"texts": ["a piano"], "like_span_s": (1, None)}, "--from and --to .like_span_s. need the audio"),
        ({"texts": ["a piano"], "min_length_s": -1}, "Lengths must be at least 0"),
        ({"texts": ["a piano"], "max_length_s": math.nan}, "Lengths must be at least 0"),
        ({"texts": ["a piano"], "min_length_s": 3, "max_length_s": 2}, "3 to 2 s"),
        ({"texts": ["a piano"], "top": 0}, "top must be at least 1"),
    ],
)
def test_bad_queries(fields, message):
    with pytest.raises(ValueError, match=message):
        Query(**fields)
