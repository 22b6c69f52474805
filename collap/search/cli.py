# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The commands `collap index` and `collap search`."""

import dataclasses
import json
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collap.cli import HelpFormatter
from collap.evaluation.localization import Span
from collap.evaluation.plots import clock, plot_attention
from collap.files import atomic_write
from collap.precision import PRECISIONS

from .index import SongIndex
from .query import Query, SearchResult

PICTURES = (".png", ".jpg", ".pdf", ".svg")


def index_songs(arguments: Sequence[str]) -> int:
    """
    Encodes the songs of folders for `collap search`.

        collap index ~/Music --model MODEL --index my-index      make an index
        collap index --index my-index                            bring it up to date: new, changed, moved, gone songs

    Songs are known by their content: a file that was moved or renamed is not encoded again. Stopped or killed, the
    same command continues where it was.
    """
    parser = ArgumentParser("collap index", description=index_songs.__doc__, formatter_class=HelpFormatter)
    parser.add_argument("folders", nargs="*", help="folders of songs, in addition to those of earlier calls")
    parser.add_argument("--index", required=True, help="folder of the index")
    parser.add_argument("--model", help="a CoLLAP, a folder or a name on the Hub; needed once")
    parser.add_argument("--precision", choices=PRECISIONS, help="of a new index; int8 is for CPUs")
    parser.add_argument("--milvus", metavar="URI", help="Milvus that holds the vectors of the first stage")
    parser.add_argument("--rebuild", action="store_true", help="begin anew, with another model or settings")
    parser.add_argument("--failed", action="store_true", help="only list the files that could not be encoded, and why")
    parser.add_argument("--remove", nargs="+", metavar="PATH", help="only forget files or folders")
    given = parser.parse_args(arguments)
    is_new = given.rebuild or given.milvus or given.precision
    if (given.failed and given.remove) or ((given.failed or given.remove) and (given.folders or is_new)):
        parser.error("--failed and --remove do nothing else: give one of them alone, without folders or other options")
    if given.failed:
        failed = SongIndex.open(given.index).failed
        print("\n".join(f"{file.path}: {file.problem}" for file in failed) or "No file has failed.")
        return 0
    if given.remove:
        print(SongIndex.open(given.index, given.model).remove(given.remove))
        return 0
    if given.model is None and is_new:
        parser.error("--rebuild, --milvus and --precision need --model: they are for a new index, not for an update")
    for folder in given.folders:
        if not Path(folder).is_dir():
            raise ValueError(f"{folder} is no folder of songs.")
    if given.model is None:
        index = SongIndex.open(given.index)
    else:
        index = SongIndex.create(given.index, given.model, given.milvus, given.rebuild, given.precision)
    update = index.update(given.folders)
    print(update)
    if not update.num_files:
        print(f"There is no file of audio in {', '.join(index.folders) or 'it: give a folder of songs'}.")
    if update.failed:
        print(f"collap index --index {given.index} --failed says why.")
    return 0


def search_songs(arguments: Sequence[str]) -> int:
    """
    Finds the songs of an index that fit a description best, and where in the song each sentence happens.

        collap search "A calm piano begins. Then the drums set in." --index my-index
        collap search "a trumpet solo over a walking bass" --section --not "vocals" --index my-index
        collap search --like song.mp3 --from 1:20 --to 1:50 --index my-index

    Several descriptions are weighed by --weights.
    """
    parser = ArgumentParser("collap search", description=search_songs.__doc__, formatter_class=HelpFormatter)
    parser.add_argument("texts", nargs="*", metavar="DESCRIPTION", help="one or many sentences")
    parser.add_argument("--index", required=True, help="folder of the index")
    parser.add_argument("--model", help="where the model is now, if it was moved")
    parser.add_argument("--weights", nargs="+", type=float, help="of each description, and of --like at last")
    parser.add_argument("--any-order", action="store_true", help="the sentences do not follow the order of the song")
    parser.add_argument(
        "--section", action="store_true", help="a description is of one section, not of the whole song"
    )
    parser.add_argument("--like", metavar="SONG", help="a file of audio, in the library or not")
    parser.add_argument("--from", type=_seconds, metavar="TIME", help="where the part of --like begins: 1:20")
    parser.add_argument("--to", type=_seconds, metavar="TIME", help="where it ends")
    parser.add_argument("--not", action="append", default=[], metavar="TEXT", help="what must not happen; repeatable")
    for tag in ("title", "artist", "album"):
        parser.add_argument(f"--{tag}", help=f"only songs whose {tag} contains this")
    parser.add_argument("--folder", help="only songs in this folder")
    parser.add_argument("--min-length", type=_seconds, metavar="TIME", help="only songs of at least this length: 3:00")
    parser.add_argument("--max-length", type=_seconds, metavar="TIME", help="only songs of at most this length")
    parser.add_argument("--top", type=int, default=10, help="most songs in the answer")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--m3u", metavar="FILE", help="write the songs as a playlist")
    parser.add_argument("--explain", metavar="PNG", help="draw the sentences over the best song")
    given = vars(parser.parse_args(arguments))
    if given["explain"] and (not given["texts"] or Path(given["explain"]).suffix.lower() not in PICTURES):
        parser.error(f"--explain needs a description, and the name of a picture ({', '.join(PICTURES)})")
    index = SongIndex.open(given["index"], given["model"])
    names = {field.name for field in dataclasses.fields(Query)}
    query = Query(
        like_span_s=(given["from"], given["to"]),
        exclude=given["not"],
        min_length_s=given["min_length"],
        max_length_s=given["max_length"],
        **{name: value for name, value in given.items() if name in names},
    )
    result = index.search(query)
    print(json.dumps(as_json(result), indent=2, ensure_ascii=False) if given["json"] else as_text(result))
    if given["m3u"]:
        with atomic_write(given["m3u"]) as temporary:
            temporary.write_text(as_playlist(result), encoding="utf-8")
    if given["explain"] and result.matches:
        draw(result, Path(given["explain"]))
    return 0


def _seconds(text: str) -> float:
    """Seconds of `80`, `1:20` or `1:01:20`."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise ArgumentTypeError(f"expected a time such as 80, 1:20 or 1:01:20, got {text!r}")
    return sum(float(part) * 60**place for place, part in enumerate(reversed(text.split(":"))))


def as_text(result: SearchResult) -> str:
    """The answer for a terminal: songs, and under each where its sentences happen."""
    lines = []
    if not result.matches:
        lines.append("No song is left by the filters." if result.num_songs == 0 else "No song can be scored.")
    if result.is_match is False:
        lines.append(
            f"Perhaps nothing here matches: no song is likely enough. The nearest of {result.num_songs} songs:"
        )
    lines += [f"Split at its clauses: {text}" for text in result.split_texts]
    for rank, match in enumerate(result.matches, start=1):
        song = match.song
        probability = ""
        if match.probability is not None:
            probability = f"  match {match.probability:.0%}" if match.probability >= 0.005 else "  match <1%"
        lines.append(f"{rank:>3}. {song.name}  ({clock(song.duration_s)})  score {match.score:.3f}{probability}")
        lines.append(f"     {song.path}")
        lines += [f"     {clock(span.start_s)}-{clock(span.end_s)}  {span.sentence}" for span in match.spans]
    lines += [f"Its frames are damaged, it was left out: {path}" for path in result.damaged]
    return "\n".join(lines)


def as_json(result: SearchResult) -> dict[str, Any]:
    """The answer for other programs; times are in seconds."""
    matches = []
    for match in result.matches:
        song, spans = dataclasses.asdict(match.song), [dataclasses.asdict(span) for span in match.spans]
        matches.append(song | {"score": match.score, "probability": match.probability, "spans": spans})
    of_all = {name: getattr(result, name) for name in ("num_songs", "is_match", "damaged", "split_texts")}
    return of_all | {"matches": matches}


def as_playlist(result: SearchResult) -> str:
    """The songs as an extended M3U."""
    lines = ["#EXTM3U"]
    for song in (match.song for match in result.matches):
        lines += [f"#EXTINF:{round(song.duration_s)},{song.name}", song.path]
    return "\n".join(lines) + "\n"


def draw(result: SearchResult, path: Path) -> None:
    """Draws how well each sentence fits each frame of the best song, and the spans that were found."""
    best = result.matches[0]
    above = (best.similarities - best.similarities.mean(1, keepdims=True)).clip(0)
    spans = [Span(place, own.start_s, own.end_s, own.score) for place, own in enumerate(best.spans)]
    spans = spans[: len(result.sentences)]
    unknown, label = [None] * len(result.sentences), "fit of the sentence"
    plot_attention(path, above, best.times, result.sentences, [], unknown, spans, best.song.title, label)
