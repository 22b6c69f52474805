# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
A stand-in for the Hugging Face Hub on this machine's loopback, for tests of what is pushed.

It is not the Hub: it answers those requests that huggingface_hub 2.4 makes to create a repository, to upload a folder
by the LFS protocol and to download a file, in the shapes that this client reads. What it is sent is stored in memory.
The Hub's other way of transfer, Xet, is not there, so clients need HF_HUB_DISABLE_XET=1.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_somebody"
READ_TOKEN = "hf_that_only_reads"
USER = "somebody"
LFS_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".pt",
    ".npy",
    ".parquet",
)  # some of what a new repository's .gitattributes names


class Hub:
    """
    What the server holds.

    Attributes:
        files (`dict[str, dict[str, bytes]]`):
            For each repository its files, as of its last commit. A data set is "datasets/USER/NAME".
        stored (`dict[str, bytes]`): What LFS was sent, by SHA-256.
        requests (`list[str]`): What was asked for, as in `PUT /lfs/...`.
        failures (`dict[str, list[int]]`):
            Statuses to answer with in place of what is right, one a request, to requests that begin with the key.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: dict[str, int] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.failures: dict[str, list[int]] = {}

    def environment(self, token: str = TOKEN) -> dict[str, str]:
        """Variables by which a process takes this server for the Hub."""
        online = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
        return {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", **online}

    def commit_id(self, repository: str) -> str:
        return hashlib.sha1(f"{repository} {self.commits[repository]}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET

    def _handle(self) -> None:
        self.path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self._chunks())
        request = f"{self.command} {self.path}"
        self.hub.requests.append(request)
        for beginning, statuses in self.hub.failures.items():
            if request.startswith(beginning) and statuses:
                self._say(statuses.pop(0), {"error": "a failure that the test asked for"})
                return
        for methods, pattern, answer in self.ROUTES:
            found = re.fullmatch(pattern, self.path)
            if found and self.command in methods:
                answer(self, body, *found.groups())
                return
        self._say(404, {"error": f"the stand-in does not know {request}"})

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _say(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _may(self, write: bool, repository: str | None = None) -> bool:
        """Whether the token suffices; answers if it does not."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_TOKEN):
            message = "Invalid credentials in Authorization header"
            self._say(401, {"error": message}, {"X-Error-Message": message})
        elif write and (token == READ_TOKEN or (repository and repository.split("/")[-2] != USER)):
            self._say(403, {"error": "You don't have the rights"})
        elif repository and repository not in self.hub.files:
            self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        else:
            return True
        return False

    def whoami(self, body: bytes) -> None:
        if self._may(write=False):
            self._say(200, {"type": "user", "name": USER})

    def validate(self, body: bytes) -> None:
        good = json.loads(body)["content"].startswith("---\n")  # the Hub checks much more, by rules of its own
        self._say(200 if good else 400, {"errors": [] if good else [{"message": "no metadata"}], "warnings": []})

    def create(self, body: bytes) -> None:
        wanted = json.loads(body)
        owner = wanted["organization"] or USER
        repository = f"{'datasets/' * (wanted.get('type') == 'dataset')}{owner}/{wanted['name']}"
        if not self._may(write=True):
            return
        if owner != USER:
            self._say(403, {"error": "You don't have the rights to create a repository under this namespace"})
        elif repository in self.hub.files:
            self._say(409, {"error": "You already created this repo", "url": f"{self.hub.endpoint}/{repository}"})
        else:
            self.hub.files[repository], self.hub.commits[repository] = {}, 0
            self.hub.private[repository] = wanted.get("visibility") == "private"
            self._say(200, {"url": f"{self.hub.endpoint}/{repository}"})

    def info(self, body: bytes, repository: str) -> None:
        if self._may(False, repository):
            files = [{"rfilename": path} for path in self.hub.files[repository]]
            self._say(200, {"id": repository, "sha": self.hub.commit_id(repository), "siblings": files})

    def preupload(self, body: bytes, repository: str) -> None:
        if not self._may(True, repository):
            return
        answers = []
        for file in json.loads(body)["files"]:
            there = self.hub.files[repository].get(file["path"])
            is_lfs = file["path"].endswith(LFS_SUFFIXES)
            answer = {"path": file["path"], "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
            if there is not None:
                git = b"blob %d\0" % len(there) + there
                answer["oid"] = hashlib.sha256(there).hexdigest() if is_lfs else hashlib.sha1(git).hexdigest()
            answers.append(answer)
        self._say(200, {"files": answers})

    def resolve(self, body: bytes, repository: str, path: str) -> None:
        if not self._may(False, repository):
            return
        content = self.hub.files[repository].get(path)
        if content is None:
            self._say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        else:
            etag = hashlib.sha1(content).hexdigest()
            self._say(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commit_id(repository)})

    def tree(self, body: bytes, repository: str, folder: str | None) -> None:
        """The files of a folder; of the root also its folders, none of which has folders."""
        if not self._may(False, repository):
            return
        files, listed = self.hub.files[repository], []
        for path in files:
            if path.rpartition("/")[0] == (folder or ""):
                listed.append({"type": "file", "path": path, "size": len(files[path]), "oid": "0"})
        if folder is None:
            folders = sorted({path.partition("/")[0] for path in files if "/" in path})
            listed += [{"type": "directory", "path": path, "oid": "0"} for path in folders]
        self._say(200, listed)

    def lfs_batch(self, body: bytes, repository: str) -> None:
        if not self._may(True, repository):
            return
        objects = json.loads(body)["objects"]
        for item in objects:
            if item["oid"] not in self.hub.stored:
                place = f"{self.hub.endpoint}/lfs/{item['oid']}"
                item["actions"] = {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}
        self._say(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, body: bytes, oid: str) -> None:
        # As at the Hub's storage: no token, for the address itself was given to the right one only.
        if hashlib.sha256(body).hexdigest() != oid:
            self._say(400, {"error": "the content has another hash"})
            return
        self.hub.stored[oid] = body
        self._say(200, b"")

    def lfs_verify(self, body: bytes, oid: str) -> None:
        good = len(self.hub.stored.get(oid, b"")) == json.loads(body)["size"]
        self._say(200 if good else 404, {})

    def commit(self, body: bytes, repository: str) -> None:
        if not self._may(True, repository):
            return
        files = dict(self.hub.files[repository])
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.hub.stored:
                    self._say(400, {"error": f"{value['path']}: its content was not uploaded"})
                    return
                files[value["path"]] = self.hub.stored[value["oid"]]
        self.hub.files[repository] = files
        self.hub.commits[repository] += 1
        commit = self.hub.commit_id(repository)
        self._say(200, {"commitUrl": f"{self.hub.endpoint}/{repository}/commit/{commit}", "commitOid": commit})

    NAME = r"((?:datasets/)?[\w-]+/[\w.-]+)"
    API = rf"/api/(?:models/)?{NAME}"
    ROUTES = (
        (("GET",), "/api/whoami-v2", whoami),
        (("POST",), "/api/validate-yaml", validate),
        (("POST",), "/api/repos/create", create),
        (("GET",), rf"{API}(?:/revision/\w+)?", info),
        (("GET",), rf"{API}/tree/\w+(?:/(\w+))?", tree),
        (("POST",), rf"{API}/preupload/main", preupload),
        (("GET", "HEAD"), rf"/{NAME}/resolve/\w+/([\w./-]+)", resolve),
        (("POST",), rf"/{NAME}\.git/info/lfs/objects/batch", lfs_batch),
        (("PUT",), r"/lfs/(\w+)", lfs_put),
        (("POST",), r"/lfs/(\w+)/verify", lfs_verify),
        (("POST",), rf"{API}/commit/main", commit),
    )


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A server on a free port of the loopback, as long as the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
