# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A library of songs on disk: what it holds, and how it follows the folders that it was made of."""

import json
import logging
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from filelock import FileLock, Timeout

from collap.data.audio_files import find_audio_files
from collap.data.cache import SongEmbedding, TensorCache, describe_settings, differences, hash_weights
from collap.encode import encode_songs
from collap.evaluation.retrievers import CollapRetriever, load_retriever
from collap.files import atomic_write
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.modeling_collap_base import fingerprint
from collap.precision import lower_precision

from .calibration import ScoreFit, load_calibration
from .first_stage import FILE as WINDOWS
from .first_stage import ExactFirstStage, make_windows
from .query import IndexedSong, Query, SearchResult
from .search import search
from .tags import Tags, read_tags

logger = logging.getLogger(__name__)

DATABASE = "songs.sqlite"
FRAMES = "frames"
LOCK = "writer.lock"
OF_MODEL = ("retriever", "song_retriever", "_described", "calibration")  # attributes of an index
SCHEMA = """
CREATE TABLE files (path TEXT PRIMARY KEY, song TEXT, title TEXT, artist TEXT, album TEXT, duration_s REAL,
                    encoded_s REAL, problem TEXT);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT);
"""


@dataclass(frozen=True)
class IndexedFile:
    """A file in the folders of an index, as the table `files` has it."""

    path: str
    song: str | None  # hash of its content, None if it could not be read
    title: str
    artist: str
    album: str
    duration_s: float | None
    encoded_s: float | None
    problem: str | None = None  # why it was not encoded


@dataclass(frozen=True)
class IndexUpdate:
    """The files whose state an update has changed, by their paths."""

    new: Sequence[str]
    changed: Sequence[str]  # same path, other content
    moved: Sequence[tuple[str, str]]  # old and new path
    gone: Sequence[str]
    failed: Sequence[str]  # all that could not be encoded, now or before
    num_songs: int  # in the index now
    num_files: int

    def __str__(self) -> str:
        parts = ("new", "changed", "moved", "gone", "failed")
        counts = ", ".join(f"{len(getattr(self, name))} {name}" for name in parts)
        return f"{self.num_songs} songs in {self.num_files} files: {counts}."


class SongIndex:
    r"""
    The songs of some folders, encoded by a CoLLAP, on disk.

    `songs.sqlite` has the files, their tags, lengths and failures; `frames/` is a [`TensorCache`] of the frames
    `(N, d)` of each song in float16; the windows of the first stage lie beside it, or in Milvus. Songs are known by
    the hash of their content: a file that was moved or renamed is not encoded again. One process at a time updates
    an index; any number of processes search it meanwhile and find the state before the update.

    Made by [`~SongIndex.create`] or [`~SongIndex.open`].

    Attributes:
        songs (`dict[str, IndexedSong]`): By their ids.
        failed (`list[IndexedFile]`): Files that could not be encoded, with the problem of each.
        folders (`list[str]`): What an update looks through.
    """

    def __init__(self, folder: str | Path, model: str | None = None) -> None:
        self.folder = Path(folder).absolute()
        self._given_model = None if model is None else _absolute(model)
        self._settings: dict[str, Any] = {}
        self._read()

    @classmethod
    def open(cls, folder: str | Path, model: str | None = None) -> "SongIndex":
        """
        Opens an index.

        Args:
            folder (`str` or `Path`): Of the index.
            model (`str`, *optional*): Where the model is now, if it was moved; by default where it was.

        Raises:
            ValueError: if there is no index, or it is damaged.
        """
        if not (Path(folder) / DATABASE).is_file():
            raise ValueError(f"index: {folder} has no {DATABASE}. collap index FOLDER --model MODEL --index {folder}")
        return cls(folder, model)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        model: str,
        milvus: str | None = None,
        rebuild: bool = False,
        precision: str | None = None,
    ) -> "SongIndex":
        """
        Makes an index without songs, or opens the one that is there.

        Args:
            folder (`str` or `Path`): Of the index; it holds nothing else.
            model (`str`): Folder or Hub name of a CoLLAP.
            milvus (`str`, *optional*): URI of a Milvus that holds the windows of the first stage, in place of a file.
            rebuild (`bool`): Whether to begin anew if the index was made by another model, or is damaged. Its folders
                are kept if they can be read.
            precision (`str`, *optional*): In which songs are encoded, as in [`lower_precision`].

        Raises:
            ValueError: if the index was made by another model or with other settings (the message says what differs),
                or `folder` holds other files.
        """
        folder = Path(folder)
        if milvus is not None and "://" not in milvus:
            milvus = os.path.abspath(milvus)  # a file of Milvus Lite
        is_index = (folder / DATABASE).exists()
        if not is_index and folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
            raise ValueError(f"index: {folder} holds other files. Give a new folder.")
        index = cls(folder, model) if is_index and not rebuild else None
        if precision is None and index is not None:
            precision = index._settings.get("precision")
        retriever = _load_retriever(model)
        stamp = _stamp(retriever)
        _lower(retriever, precision)
        described = describe_songs(retriever)
        if index is None:
            folder.mkdir(parents=True, exist_ok=True)
            with _writing(folder):
                folders = _delete(folder) if is_index else []
                settings = {
                    "model": _absolute(model),
                    "fingerprint": described,
                    "stamp": stamp,
                    "precision": retriever.precision,
                    "milvus": milvus,
                    "collection": f"collap_{uuid.uuid4().hex}",
                    "folders": folders,
                    "generation": uuid.uuid4().hex,
                }
                with (
                    atomic_write(folder / DATABASE) as temporary,
                    closing(sqlite3.connect(temporary)) as database,
                    database,
                ):
                    database.executescript(SCHEMA)
                    _write_settings(database, settings)
            index = cls(folder, model)
        if milvus not in (None, index._settings["milvus"]):
            raise ValueError(
                f"milvus: {folder} has its windows in {index._settings['milvus'] or 'a file'}, got {milvus!r}. "
                "--rebuild begins anew."
            )
        index.retriever, index._described = retriever, described
        index._check_described(described)
        return index

    def refresh(self) -> None:
        """Takes the state that another process has written, if there is a new one."""
        with self._database() as database:
            (generation,) = database.execute("SELECT value FROM settings WHERE name = 'generation'").fetchone()
        if generation != json.dumps(self._settings["generation"]):
            self._read()

    @cached_property
    def retriever(self) -> CollapRetriever:
        """The model as it was saved, loaded when it is first used; a ValueError if it is not that of the index."""
        retriever = _load_retriever(self.model)
        if _stamp(retriever) != self._settings["stamp"]:  # indexes were once stamped in their own precision
            _lower(retriever, self._settings.get("precision"))
        own = describe_settings(retriever.model.config, retriever.processor.feature_extractor)
        self._check_described(own | {"first_weights": _stamp(retriever)})
        return retriever

    @cached_property
    def song_retriever(self) -> CollapRetriever:
        """The same, whose audio encoders get the precision of the songs: not every machine that searches has it."""
        _lower(self.retriever, self._settings.get("precision"))
        return self.retriever

    @cached_property
    def _described(self) -> dict[str, Any]:
        """What the frames of the model depend on; all its weights are hashed once."""
        return describe_songs(self.song_retriever)

    @cached_property
    def calibration(self) -> dict[str, ScoreFit]:
        """What makes probabilities of scores, by kind of query: [`load_calibration`]."""
        return load_calibration(self.model, self.retriever.weights)

    @cached_property
    def first_stage(self) -> ExactFirstStage:
        """Finds candidates by their windows."""
        if self._settings["milvus"] is None:
            return ExactFirstStage(self.folder)
        from .milvus import MilvusFirstStage

        return MilvusFirstStage(self._settings["milvus"], self._settings["collection"])

    @property
    def model(self) -> str:
        """Folder or Hub name of the model."""
        return self._given_model or self._settings.get("model", "")

    @property
    def folders(self) -> list[str]:
        return self._settings["folders"]

    def frames(self, song: str) -> np.ndarray:
        """The frames `(N, d)` of a song by its id, in float32; a ValueError if they are damaged or gone."""
        try:
            return self._cache.read(song).frames.astype(np.float32)
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(
                f"{self.songs[song].path}: its frames are damaged. collap index --index {self.folder} encodes what is "
                "damaged, and nothing else."
            ) from error

    def frame_times(self, song: str) -> np.ndarray:
        """Start and end of each frame of a song in seconds, of shape `(N, 2)`."""
        num_frames = self._cache.songs[song].num_frames
        return self.retriever.frame_times(num_frames, self.songs[song].duration_s)

    def update(self, folders: Sequence[str | Path] = ()) -> IndexUpdate:
        """
        Brings the index to the state of its folders: encodes what is new, changed or damaged, forgets what is gone.

        Stopped or killed, it continues where it was (up to a minute before).

        Args:
            folders (`Sequence[str | Path]`): Further ones; those of earlier updates are kept.

        Raises:
            ValueError: if a folder is missing, or has songs of the index and is now empty or cannot be read, or the
                model is not that of the index.
            RuntimeError: if another process is updating the index.
        """
        with _writing(self.folder):
            self.refresh()
            self._check_described(self._described)
            if self._settings["milvus"] is not None:
                _ = self.first_stage  # that it cannot be used is said before songs are encoded
            folders = _without_inner([*self.folders, *(os.path.abspath(folder) for folder in folders)])
            paths = [path for folder in folders for path in self._find_files(folder)]
            with self._database(write=True) as database, database:  # a killed update continues without naming them
                _write_settings(database, {"folders": folders})
            return self._take(paths, folders)

    def search(self, query: Query) -> SearchResult:
        """The songs that fit a query best, as [`collap.search.search.search`]."""
        return search(self, query)

    def remove(self, paths: Iterable[str | Path]) -> IndexUpdate:
        """
        Forgets files and folders. A file that is still in a folder of the index comes back with the next update.

        Raises:
            ValueError: if the index has no such file or folder, or the model that was given is not that of the index.
            RuntimeError: if another process is updating the index.
        """
        with _writing(self.folder):
            self.refresh()
            if self._given_model is not None:  # it becomes that of the index, as by an update
                self._check_described(self._described)
            given = [os.path.abspath(path) for path in paths]
            kept = [path for path in self._files if not any(_is_inside(path, other) for other in given)]
            folders = [folder for folder in self.folders if not any(_is_inside(folder, other) for other in given)]
            for path in given:
                if not any(_is_inside(known, path) for known in (*self._files, *self.folders)):
                    raise ValueError(f"paths: {path} is neither a file nor a folder of {self.folder}.")
            return self._commit([self._files[path] for path in kept], folders)

    def _find_files(self, folder: str) -> list[str]:
        """The audio files in a folder; a ValueError if a place with songs of the index seems to be unplugged."""

        def leave_out(place: str, reason: str) -> None:
            if not os.path.isdir(place) or any(_is_inside(path, place) for path in self._files):
                cure = f"if it is gone for good: collap index --index {self.folder} --remove {place}"
                raise ValueError(f"folders: {reason}. Its songs are kept; {cure}")
            logger.warning("%s", reason)

        own, found = self.folder.resolve(), find_audio_files(Path(folder), leave_out)
        paths = [str(path) for path in found if own not in path.resolve().parents]
        if not paths and self._files:  # such as the folder on which a disk was mounted
            leave_out(folder, f"{folder} has no file of audio")
        return paths

    def _take(self, paths: list[str], folders: list[str]) -> IndexUpdate:
        """Encodes the songs at these paths, and makes them the index."""
        retriever = self.song_retriever

        def read(path: str) -> SongEmbedding:
            song = retriever.embed_song(path)
            return replace(song, frames=song.frames.astype(np.float16))

        state = PartialState(cpu=retriever.model.device.type == "cpu")
        listed = encode_songs(paths, self._cache, read, list, state, on_bad_audio="skip")
        files = []
        for path, song in zip(paths, listed, strict=True):
            known = self._files.get(path)
            is_known = known is not None and known.song == (song.hash or None)
            tags = Tags(known.title, known.artist, known.album) if is_known else read_tags(path)
            encoded = None if song.problem else self._cache.songs[song.hash]
            lengths = (None, None) if encoded is None else (encoded.duration_s, encoded.encoded_s)
            files.append(IndexedFile(path, song.hash or None, *astuple(tags), *lengths, song.problem))
        return self._commit(files, folders)

    def _commit(self, files: list[IndexedFile], folders: list[str]) -> IndexUpdate:
        """Makes these files the index: first the windows, then the table, at last what is not used any more."""
        songs = {file.song for file in files if file.problem is None}
        try:
            known = set(self.first_stage.song_ids)
        except ValueError as error:
            if self._settings["milvus"] is not None:
                raise
            logger.warning("%s", error)
            (self.folder / WINDOWS).unlink(missing_ok=True)
            known = set()

        def windows() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
            lengths = {file.song: file.duration_s for file in files}
            for song in sorted(songs - known):
                frames = self._cache.read(song).frames.astype(np.float32)
                times = self.retriever.frame_times(len(frames), lengths[song])
                yield song, *make_windows(frames, times)

        if songs != known:
            self.first_stage.update(windows(), songs & known)
        update = self._compare(files, len(songs))
        with self._database(write=True) as database, database:
            database.execute("DELETE FROM files")
            places = ", ".join("?" * len(fields(IndexedFile)))
            database.executemany(f"INSERT INTO files VALUES ({places})", map(astuple, files))
            _write_settings(database, {"folders": folders, "model": self.model, "generation": uuid.uuid4().hex})
        self._read()
        self._cache.keep(songs)
        return update

    def _compare(self, files: list[IndexedFile], num_songs: int) -> IndexUpdate:
        before, after = self._files, {file.path: file for file in files}
        gone = {file.song: path for path, file in before.items() if path not in after and file.song is not None}
        moved = [
            (gone.pop(file.song), path) for path, file in after.items() if path not in before and file.song in gone
        ]
        arrived = {path for _, path in moved}
        return IndexUpdate(
            new=[path for path in after if path not in before and path not in arrived],
            changed=[path for path in after if path in before and before[path].song != after[path].song],
            moved=moved,
            gone=[path for path in before if path not in after and path not in {old for old, _ in moved}],
            failed=[file.path for file in files if file.problem is not None],
            num_songs=num_songs,
            num_files=len(files),
        )

    def _read(self) -> None:
        """Reads the state from the disk, as one process has written it."""
        names = ", ".join(field.name for field in fields(IndexedFile))
        model, made = self.model, self._settings.get("collection")
        with self._database() as database:
            database.execute("BEGIN")  # one state, whatever is written meanwhile
            rows = database.execute(f"SELECT {names} FROM files ORDER BY path").fetchall()
            settings = database.execute("SELECT name, value FROM settings").fetchall()
            self._settings = {name: json.loads(value) for name, value in settings}
        self._files = {row[0]: IndexedFile(*row) for row in rows}
        self.failed = [file for file in self._files.values() if file.problem is not None]
        paths: dict[str, list[str]] = {}
        for file in self._files.values():
            if file.problem is None:
                paths.setdefault(file.song, []).append(file.path)
        self.songs = {}
        for song, own in paths.items():
            first = self._files[own[0]]
            tags, lengths = (first.title, first.artist, first.album), (first.duration_s, first.encoded_s)
            self.songs[song] = IndexedSong(song, first.path, *tags, *lengths, tuple(own))
        self._cache = TensorCache(self.folder / FRAMES, self._settings["fingerprint"], create=True)
        is_same = (model, made) == (self.model, self._settings["collection"])  # and not begun anew
        for name in ("first_stage",) if is_same else ("first_stage", *OF_MODEL):
            self.__dict__.pop(name, None)

    @contextmanager
    def _database(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        file = self.folder / DATABASE
        address = f"{file.as_uri()}?mode={'rw' if write else 'ro'}"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=60.0)) as database:
                yield database
        except (sqlite3.DatabaseError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{file} is damaged or cannot be used ({error}). collap index FOLDER... --model MODEL --index "
                f"{self.folder} --rebuild makes it again."
            ) from error

    def _check_described(self, described: dict[str, Any]) -> None:
        """A ValueError that says what differs from the model of the index, by what is described here."""
        made = {**self._settings["fingerprint"], "first_weights": self._settings["stamp"]}
        if lines := differences(made, described):
            lines = [line.replace(" in the cache, ", " in the index, ") for line in lines]
            lines.insert(0, f"{self.folder} was made by another model, or with another precision or other settings:")
            raise ValueError("\n  ".join(lines) + "\nGive that model and precision, or begin anew by --rebuild.")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise RuntimeError(
            f"{folder}: another process is updating this index. Run the command again when it is done."
        ) from error


def _delete(folder: Path) -> list[str]:
    """Deletes an index and nothing else in its folder; returns its folders of songs, if they can be read."""
    folders: list[str] = []
    with suppress(ValueError):  # damaged
        index = SongIndex(folder)
        folders = index.folders
        if index._settings["milvus"] is not None:
            index.first_stage.update([], [])
    shutil.rmtree(folder / FRAMES, ignore_errors=True)
    (folder / DATABASE).unlink(missing_ok=True)
    (folder / WINDOWS).unlink(missing_ok=True)
    return folders


def describe_songs(retriever: CollapRetriever) -> dict[str, Any]:
    """All that the frames of an index depend on: they are compared with no others."""
    settings = describe_settings(retriever.model.config, retriever.processor.feature_extractor)
    weights = hash_weights(retriever.model.audio_model)
    return settings | {"weights": weights, "frames": "float16", "precision": retriever.precision}


def _lower(retriever: CollapRetriever, precision: str | None) -> None:
    retriever.precision = lower_precision(retriever.model.audio_model, precision)


def _stamp(retriever: CollapRetriever) -> int:
    """A hash of the beginning of the weights that encode songs, which takes no time."""
    stamp = fingerprint(retriever.model.audio_model, 1)
    return 0 if stamp is None else int(stamp)


def _load_retriever(model: str) -> CollapRetriever:
    if not os.path.isdir(model) and (os.path.isabs(model) or model.count("/") != 1):
        raise ValueError(f"model: {model} is not there: give the folder where it is now, or its name on the Hub.")
    retriever = load_retriever(model, PartialState().device)
    if not isinstance(retriever, CollapRetriever) or type(retriever.model) is not CollapModel:
        raise ValueError(f"model: an index needs a CoLLAP with its attentions, got {retriever.name}.")
    return retriever


def _absolute(model: str) -> str:
    """A folder from wherever it is looked for; a name on the Hub as it is."""
    return os.path.abspath(model) if os.path.isdir(model) else model


def _write_settings(database: sqlite3.Connection, settings: dict[str, Any]) -> None:
    rows = [(name, json.dumps(value)) for name, value in settings.items()]
    database.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", rows)


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _without_inner(folders: Sequence[str]) -> list[str]:
    """Folders without those inside another one."""
    different = list(dict.fromkeys(folders))
    return [
        folder for folder in different if not any(_is_inside(folder, other) for other in different if other != folder)
    ]
