"""A server on this machine that speaks the endpoints of the Hub which an upload and a download of small files use."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """Repositories by name, ``owner/name`` or ``datasets/owner/name``: the files of their only branch.

    With a ``token`` it answers only those who send it.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.commits: list[str] = []
        self.token: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/repos/create":
            name = "/".join(filter(None, (json.loads(body).get("organization"), json.loads(body)["name"])))
            self.server.repositories.setdefault(name, {})
            self.answer({"url": f"{self.server.url}/{name}", "name": name, "id": name})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
            self.answer({"files": modes})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            header, *files = [json.loads(line) for line in body.splitlines() if line.strip()]
            self.server.commits.append(header["value"]["summary"])
            for one in files:
                self.server.repositories[found[1]][one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            oid = commit(self.server, found[1])
            self.answer({"commitOid": oid, "commitUrl": f"{self.server.url}/{found[1]}/commit/{oid}"})
        elif (found := re.fullmatch(r"/api/(datasets/[^/]+/[^/]+)/paths-info/[^/]+", path)) and self.allowed():
            asked = json.loads(body)["paths"]
            self.answer([one for one in self.listing(found[1]) if one["path"] in asked])
        else:
            self.answer({"error": f"no POST {path}"}, 404)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).replace("/api/models/", "/api/")
        known = "|".join(map(re.escape, self.server.repositories)) or "-"
        if not self.allowed():
            self.answer({"error": "Invalid username or password."}, 401, {"X-Error-Code": "RepoNotFound"})
        elif found := re.fullmatch(rf"/api/({known})(/revision/.+)?", path):
            files = [{"rfilename": name} for name in self.server.repositories[found[1]]]
            sha = commit(self.server, found[1])
            self.answer(
                {"id": found[1], "modelId": found[1], "sha": sha, "siblings": files, "tags": [], "private": False}
            )
        elif found := re.fullmatch(rf"/api/({known})/tree/[^/]+/?(.*)", path):
            self.answer([one for one in self.listing(found[1]) if one["path"].startswith(found[2])])
        elif (found := re.fullmatch(rf"/({known})/resolve/[^/]+/(.+)", path)) and (
            found[2] in self.server.repositories[found[1]]
        ):
            content = self.server.repositories[found[1]][found[2]]
            headers = {"ETag": f'"{digest(content)}"', "X-Repo-Commit": commit(self.server, found[1])}
            if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                self.send(content[first : last + 1], 206, {**headers, "Accept-Ranges": "bytes"})
            else:
                self.send(content, 200, {**headers, "Accept-Ranges": "bytes"})
        else:
            missing = "EntryNotFound" if re.match(rf"/({known})/resolve/", path) else "RepoNotFound"
            self.answer({"error": f"no {self.command} {path}"}, 404, {"X-Error-Code": missing})

    do_HEAD = do_GET

    def allowed(self) -> bool:
        return self.server.token is None or self.headers.get("authorization") == f"Bearer {self.server.token}"

    def listing(self, name: str) -> list[dict[str, Any]]:
        files = self.server.repositories[name].items()
        return [{"type": "file", "path": n, "size": len(c), "oid": digest(c)} for n, c in files]

    def answer(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(json.dumps(body).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def commit(hub: Hub, name: str) -> str:
    return digest(repr(sorted(hub.repositories[name].items())).encode())


@contextmanager
def hub_server() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join(30)
