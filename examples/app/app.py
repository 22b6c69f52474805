# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Serves the page of `collap app` as a Space of Hugging Face, or anywhere else: `python app.py` (see README.md)."""

import os
import sys
from pathlib import Path

import uvicorn

from collap.data.audio_files import find_audio_files
from collap.search.app import make_app
from collap.search.index import DATABASE, SongIndex

HERE = Path(__file__).absolute().parent
INDEX = Path(os.environ.get("COLLAP_INDEX", HERE / "index")).absolute()
SONGS = Path(os.environ.get("COLLAP_SONGS", HERE / "songs")).absolute()
MODEL = os.environ.get("COLLAP_MODEL") or (str(HERE / "model") if (HERE / "model").is_dir() else None)


def open_index() -> SongIndex:
    """The index of the songs: the first start makes it, later ones bring it up to date."""
    if (INDEX / DATABASE).is_file():
        index = SongIndex.open(INDEX, MODEL)
    elif MODEL is None:
        sys.exit("There is no model: set the variable COLLAP_MODEL, or put one into the folder model.")
    elif not find_audio_files(SONGS):
        sys.exit(f"There are no songs: put them into the folder {SONGS.name}.")
    else:
        index = SongIndex.create(INDEX, MODEL)
    if set(index.folders) <= {str(SONGS)}:
        print(index.update([SONGS]), flush=True)
        for file in index.failed:
            print(f"{file.path} was left out: {file.problem}", flush=True)
    else:  # an update would look for its songs in folders that are not here
        print("The index was made elsewhere: songs that are not in it are not added.", flush=True)
    _ = index.retriever  # what is wrong with the model is said before the page is served
    return index


try:
    app = make_app(open_index(), songs=SONGS)
except (OSError, ValueError) as error:
    sys.exit(f"{error}\nThe variables COLLAP_MODEL, COLLAP_SONGS and COLLAP_INDEX say where these are.")

if __name__ == "__main__":
    # A Space sets the first of these to 0.0.0.0.
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("GRADIO_SERVER_PORT", "7860")
    uvicorn.run(app, host=host, port=int(port))
