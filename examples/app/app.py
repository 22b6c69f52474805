# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Serves the page of `collap app` as a Space of Hugging Face, or anywhere else: `python app.py` (see README.md)."""

import os
from pathlib import Path

import uvicorn

from collap.search.app import make_app
from collap.search.index import SongIndex

HERE = Path(__file__).parent
INDEX = Path(os.environ.get("COLLAP_INDEX", HERE / "index"))
SONGS = Path(os.environ.get("COLLAP_SONGS", HERE / "songs"))
MODEL = os.environ.get("COLLAP_MODEL")  # by default the one that made the index, where it was then

app = make_app(SongIndex.open(INDEX, MODEL), songs=SONGS)

if __name__ == "__main__":
    # A Space sets the first of these to 0.0.0.0.
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("GRADIO_SERVER_PORT", "7860")
    uvicorn.run(app, host=host, port=int(port))
