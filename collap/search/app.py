# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Serves a page that searches an index and plays the songs where each sentence happens.

    collap app --index DIR

The page is only for this computer (127.0.0.1) unless `--host` says otherwise. It reads the songs of the index and no
other file, and never tells where on the disk they are.
"""

import logging
import mimetypes
import os
import tempfile
import threading
import uuid
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from collap.cli import HelpFormatter
from collap.extras import require_extra
from collap.files import atomic_write
from collap.processing.audio_decoding_collap import open_container, open_file, stream_audio

from .index import SongIndex
from .query import Match, Query

if TYPE_CHECKING:
    from fastapi import FastAPI
    from gradio import Blocks

logger = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page")
# What a query is made of: names in the address of the page, in the order of its fields.
FIELDS = ("q", "order", "not", "title", "artist", "album", "folder", "min", "max")
ORDERS = {"": "In this order", "any": "In any order", "section": "One section"}
NUM_BARS = 200  # of a waveform, and cells of a sentence's lane
WAVEFORM_RATE = 8_000  # Hz
MAX_UPLOAD_BYTES = 2**30
MAX_FILES = 16  # of each kind in the temporary folder: older ones go
# Of Gradio: they take or serve files, tell where on the disk these are, or describe the server.
CLOSED_ROUTES = ["upload", "upload_progress", "deep_link", "file={path:path}", "file/{path:path}", "proxy={path:path}"]


class Library:
    """
    What the page asks for, as JSON and files. Several threads may call it.

    Args:
        index ([`SongIndex`]): Read anew before each query, so that what another process has changed is shown.
        songs (`Path`, *optional*): Where the content of the index's folders is now, if they were moved.
    """

    def __init__(self, index: SongIndex, songs: Path | None = None):
        self.index = index
        self.waveform = lru_cache(maxsize=1024)(self._waveform)
        self._songs = songs
        self.temporary = tempfile.TemporaryDirectory(prefix="collap-app-")
        self._drawing, self._converting = threading.Lock(), threading.Lock()  # one song each at a time

    def answer(self, fields: Mapping[str, str], dropped: Mapping[str, str] | None = None) -> dict[str, Any]:
        """
        The songs that fit a query, or one sentence about what is wrong with it.

        Args:
            fields: Values of `FIELDS`, and `like`, the id of a song.
            dropped: The `name` of a song that was dropped on the page, and its `upload`, which is deleted.
        """
        upload = self.temporary_file(dropped["upload"], ".upload") if dropped else None
        answer = {"link": {} if dropped else fields}
        try:
            self.index.refresh()
            like, name = upload, dropped["name"] if dropped else ""
            if not dropped and fields.get("like"):
                like, name = self.song_file(fields["like"]), self.index.songs[fields["like"]].title
            if like is None and not fields.get("q"):
                return answer | {"message": f"{len(self.index.songs):,} songs to search."}
            return answer | self._find(self._make_query(fields, like), name)
        except KeyError:  # a song that another process removes at this moment
            return answer | {"error": "The index has just changed: search again."}
        except (OSError, RuntimeError, ValueError) as error:
            logger.info("%s", error)
            message = str(error).replace(str(upload), dropped["name"]) if dropped else str(error)
            return answer | {"error": self.without_paths(message)}
        finally:
            if upload is not None:
                upload.unlink(missing_ok=True)

    def _make_query(self, fields: Mapping[str, str], like: Path | None = None) -> Query:
        folder = fields.get("folder") or None
        if folder and (folder := self.folders().get(folder)) is None:
            raise ValueError(f"The index has no folder {fields['folder']!r}.")
        try:
            lengths_s = [60 * float(fields[name]) if fields.get(name) else None for name in ("min", "max")]
        except ValueError:
            raise ValueError("A length must be a number of minutes.") from None
        return Query(
            texts=[fields["q"]] if like is None else [],
            any_order=like is None and fields.get("order") == "any",
            section=like is None and fields.get("order") == "section",
            like=None if like is None else str(like),
            exclude=[fields["not"]] if fields.get("not") else [],
            folder=folder,
            min_length_s=lengths_s[0],
            max_length_s=lengths_s[1],
            **{tag: fields.get(tag) for tag in ("title", "artist", "album")},
        )

    def _find(self, query: Query, like: str) -> dict[str, Any]:
        """The answer to a query, whose audio is called `like`."""
        result = self.index.search(query)
        songs = []
        for match, heat in zip(result.matches, _heats(result.matches), strict=True):
            song = {name: getattr(match.song, name) for name in ("id", "title", "artist", "album", "duration_s")}
            lanes = {text: {"heat": cells, "spans": []} for text, cells in zip(result.sentences, heat, strict=True)}
            for span in match.spans:  # those of audio have no heat
                text = span.sentence if span.sentence in lanes else f"Like {like}"
                spans = lanes.setdefault(text, {"heat": [], "spans": []})["spans"]
                if [span.start_s, span.end_s] not in spans:  # of a sentence that is there twice
                    spans.append([span.start_s, span.end_s])
            lanes = [{"sentence": text, **lane} for text, lane in lanes.items()]
            songs.append({**song, "score": match.score, "probability": match.probability, "lanes": lanes})
        message = f"{len(songs)} of {result.num_songs:,} songs{like and f' like {like}'}"
        if not songs:
            message = "No song passes these filters."
        elif result.is_match is False:
            message = "Nothing here matches. These come closest:"
        if result.split_texts:
            message = message.rstrip(".:") + ". The sentence was split at its clauses."
        return {"message": message, "is_match": result.is_match, "songs": songs}

    def folders(self) -> dict[str, str]:
        """Folders of songs: what the page calls them, and where they are."""
        named: dict[str, str] = {}
        direct = {os.path.dirname(path) for song in self.index.songs.values() for path in song.paths}
        for number, root in enumerate(map(Path, self.index.folders), start=1):
            name = root.name if len(self.index.folders) == 1 else f"{number} {root.name}"
            for folder in (folder for path in direct for folder in (Path(path), *Path(path).parents)):
                if folder.is_relative_to(root):
                    named[(name / folder.relative_to(root)).as_posix()] = str(folder)
        return dict(sorted(named.items()))

    def without_paths(self, message: str) -> str:
        """A message for the browser, which names songs and not files."""
        for song in self.index.songs.values():
            for path in song.paths:
                message = message.replace(path, song.title)
        return message.replace(str(self.index.folder), "the index")

    def song_file(self, song_id: str) -> Path:
        """A file of a song; a ValueError if it has none."""
        if song_id not in self.index.songs:
            self.index.refresh()
        if (song := self.index.songs.get(song_id)) is None:
            raise ValueError("This song is not in the index.")
        paths = [Path(path) for path in song.paths]
        if self._songs is not None:
            roots = [Path(folder) for folder in self.index.folders]
            paths += [self._songs / path.relative_to(root) for path in paths for root in roots if root in path.parents]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise ValueError(f"The file of {song.title} is gone: update the index.")
        return path

    def _waveform(self, song_id: str) -> list[int]:
        """Loudness over the song: the root mean square of about `NUM_BARS` equal parts, from 0 to 100."""
        path = self.song_file(song_id)
        block_size = max(1, round(self.index.songs[song_id].duration_s * WAVEFORM_RATE / NUM_BARS))
        with self._drawing:
            blocks = stream_audio(path, WAVEFORM_RATE, block_size=block_size)
            loudness = np.nan_to_num(
                [np.sqrt(np.square(block.waveform).mean()) for block in blocks if len(block.waveform)]
            )
        return np.rint(100 * loudness / max(loudness.max(initial=0), 1e-9)).astype(int).tolist()[:NUM_BARS]

    def mp3(self, song_id: str) -> Path:
        """A song as an MP3, for browsers that cannot play its own format; a ValueError if it cannot be decoded."""
        source, target = self.song_file(song_id), self.temporary_file(song_id, ".mp3")
        with self._converting:
            if not target.is_file():
                try:
                    with atomic_write(target) as temporary:
                        _write_mp3(source, temporary)
                except (av.FFmpegError, OSError, ValueError):
                    raise ValueError(f"{source} cannot be decoded.") from None
        return target

    def temporary_file(self, name: str, suffix: str) -> Path:
        """A place for a file that is deleted at the end, or when there are too many with this suffix."""
        folder = Path(self.temporary.name)
        for old in sorted(folder.glob(f"*{suffix}"), key=os.path.getmtime)[:-MAX_FILES]:
            old.unlink(missing_ok=True)
        return folder / f"{Path(name).name}{suffix}"


def _heats(matches: Sequence[Match]) -> list[list[list[int]]]:
    """
    Of each song `(sentences, NUM_BARS)` from 0 to 100: how far the similarity of a sentence is above its median over
    all these songs, where 100 is its highest. Cells divide the song into equal parts; what was not encoded is 0.
    """
    if not matches:
        return []
    heats = []
    every = np.hstack([match.similarities for match in matches])  # (sentences, frames of all)
    low, high = np.median(every, axis=1), every.max(axis=1)
    for match in matches:
        middles = (np.arange(NUM_BARS) + 0.5) * match.song.duration_s / NUM_BARS
        frames = np.searchsorted(match.times[:, 0], middles, side="right") - 1
        heat = (match.similarities[:, frames].T - low) / np.maximum(high - low, 1e-6)  # (NUM_BARS, sentences)
        heat[middles >= match.times[-1, 1]] = 0
        heats.append(np.rint(100 * heat.clip(0, 1)).astype(int).T.tolist())
    return heats


def _write_mp3(source: Path, target: Path) -> None:
    with open_file(source) as file, open_container(file) as song, av.open(str(target), "w", format="mp3") as sink:
        stream = sink.add_stream("mp3", rate=44_100, layout="stereo", bit_rate=192_000)
        for frame in song.decode(audio=0):
            frame.pts = None
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))


def make_app(index: SongIndex, songs: Path | None = None) -> "FastAPI":
    """The page and its routes, to be run by uvicorn; arguments as of [`Library`]."""
    require_extra("app", "gradio")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import FileResponse, JSONResponse

    library = Library(index, songs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        library.temporary.cleanup()  # also if the process is terminated

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.exception_handler(ValueError)
    def refuse(_: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({"detail": library.without_paths(str(error))}, 404)

    @app.api_route("/audio/{song_id}", methods=["GET", "HEAD"])
    def audio(song_id: str, mp3: str | None = None) -> FileResponse:
        """The file of a song, in parts if the browser asks for them."""
        path = library.song_file(song_id) if mp3 is None else library.mp3(song_id)
        return FileResponse(path, media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream")

    @app.get("/waveform/{song_id}")
    def waveform(song_id: str) -> list[int]:
        return library.waveform(song_id)

    @app.post("/songs")
    async def receive(request: Request) -> dict[str, str]:
        """Takes a dropped song; the query that follows deletes it."""
        upload, num_bytes = uuid.uuid4().hex, 0
        path = library.temporary_file(upload, ".upload")
        try:
            with path.open("wb") as file:
                async for part in request.stream():
                    num_bytes += len(part)
                    if num_bytes > MAX_UPLOAD_BYTES:
                        raise HTTPException(413, f"A song must have at most {MAX_UPLOAD_BYTES // 2**20} MiB.")
                    file.write(part)
        except BaseException:  # also if the browser goes away
            path.unlink()
            raise
        return {"upload": upload}

    for closed in CLOSED_ROUTES:

        @app.api_route(f"/gradio_api/{closed}", methods=["GET", "HEAD", "POST"])
        def close() -> None:
            raise HTTPException(404)

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    # Not by css_paths: Gradio would rewrite the selectors.
    style = f"<style>{(PAGE / 'search.css').read_text(encoding='utf-8')}</style>"
    options = {"footer_links": [], "show_error": False, "ssr_mode": False, "run_history": False}
    page = _make_page(library)
    page.has_launched = True  # by launch alone; else Gradio copies any file that a forged query names to its cache
    return gr.mount_gradio_app(app, page, path="/", theme=theme, head=style, **options)


def _make_page(library: Library) -> "Blocks":
    """The fields of a query, and the results, which page/search.js draws."""
    import gradio as gr

    with gr.Blocks(title="CoLLAP", analytics_enabled=False) as page:
        gr.Markdown("# Find a song, and the moment in it")
        text = gr.Textbox(
            label="Description",
            placeholder="A piano opens alone. Drums and a fast bass come in. A choir ends it.",
            max_lines=12,
            autofocus=True,
        )
        with gr.Row(elem_classes="collap-ask"):
            choices = [(label, value) for value, label in ORDERS.items()]
            order = gr.Radio(choices, value="", label="Order", show_label=False, container=False)
            button = gr.Button("Search", variant="primary", scale=0, min_width=140)
        with gr.Accordion("Exclude and filter", open=False) as filters:
            without = gr.Textbox(label="Without", placeholder="a man speaks")
            with gr.Row():
                tags = [gr.Textbox(label=label) for label in ("Title", "Artist", "Album")]
            with gr.Row():
                folder = gr.Dropdown(label="Folder", allow_custom_value=True)
                lengths = [gr.Textbox(label=f"At {bound} (minutes)") for bound in ("least", "most")]
        results = gr.HTML(
            value={},
            html_template=(PAGE / "search.html").read_text(encoding="utf-8"),
            js_on_load=(PAGE / "search.js").read_text(encoding="utf-8"),
            apply_default_css=False,
        )
        fields = [text, order, without, *tags, folder, *lengths]

        def run(event: gr.EventData, *values: str) -> dict[str, Any]:
            given = {name: value.strip() for name, value in zip(FIELDS, values, strict=True) if value}
            return library.answer(given, event._data if event.target is results else None)

        def restore(request: gr.Request) -> list[Any]:
            """What the address of the page says."""
            given = {name: value.strip() for name, value in request.query_params.items()}
            if given.get("order") not in ORDERS:
                given.pop("order", None)
            answer = library.answer(given)
            values = {name: given.get(name, gr.skip()) for name in FIELDS}  # not over what was typed meanwhile
            values["folder"] = gr.Dropdown(["", *library.folders()], value=given.get("folder", ""))
            is_open = any(given.get(name) for name in FIELDS[2:])
            return [*values.values(), gr.Accordion(open=is_open), answer]

        # One query at a time, by whatever event.
        options = {"api_visibility": "private", "show_progress": "minimal", "concurrency_id": "search"}
        events = [button.click, order.input, folder.input, results.upload]
        events += [field.submit for field in (text, without, *tags, *lengths)]
        gr.on(events, run, fields, results, **options)
        page.load(restore, None, [*fields, filters, results], **options)
    return page


def app(arguments: list[str]) -> None:
    """`collap app`: serves the page until it is interrupted."""
    parser = ArgumentParser("collap app", description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("--index", required=True, metavar="DIR", help="of `collap index`")
    parser.add_argument("--model", help="where the model is now, if it was moved")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 serves other computers, too")
    parser.add_argument("--port", type=int, default=7860, help="of the page")
    given = parser.parse_args(arguments)
    index = SongIndex.open(given.index, given.model)
    page = make_app(index)
    logger.info("Loading the model of %s ...", given.index)
    _ = index.retriever  # what is wrong with it is said here
    import uvicorn

    logger.info("%d songs at http://%s:%d", len(index.songs), given.host, given.port)
    uvicorn.run(page, host=given.host, port=given.port, log_level="warning")
