"""A stand-in of the Hugging Face hub's HTTP endpoint: repositories in memory, on a local port."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import reset_sessions

from rrsis_jax.weights import sources

TOKEN = "hf_of_the_tests"
_LARGE = (".safetensors", ".jax_export", ".pth", ".bin")  # stored as LFS stores them


class Hub:
    """What the endpoint knows.

    Attributes:
      repos: "owner/name" → its files, name → content.
      listed: names that a listing has beside the files.
      gated: repositories that want their terms accepted.
      asked: "METHOD path" of each request.
      url: of the endpoint.
    """

    def __init__(self):
        self.repos: dict[str, dict[str, bytes]] = {}
        self.listed: list[str] = []
        self.gated: set[str] = set()
        self.asked: list[str] = []
        self.url = ""
        self.uploads: dict[str, bytes] = {}
        self.past: dict[str, dict[str, bytes]] = {}  # commit → its files

    def commit(self, repo: str) -> str:
        """Returns the commit of a repository: a digest of its files, as Git's is."""
        files = dict(self.repos[repo])
        oid = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.past[oid] = files
        return oid


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Says nothing."""

        def answer(self, status, content=b"", **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, code, status=404):
            self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

        def handle_any(self):
            path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            for pattern, answer in routes.items():
                match = re.fullmatch(pattern, f"{self.command} {path}")
                if match:
                    return answer(self, body, **match.groupdict())
            raise AssertionError(f"no answer to {self.command} {path}")

        do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815, of http.server

        def info(self, body, repo, revision="main"):
            if repo in hub.gated:
                return self.refuse("GatedRepo", 403)
            if repo not in hub.repos:
                return self.refuse("RepoNotFound")
            oid = hub.commit(repo) if revision == "main" else revision
            if oid not in hub.past:
                return self.refuse("RevisionNotFound")
            files = [_described(name, data) for name, data in hub.past[oid].items()]
            files += [_described(name, b"") for name in hub.listed]
            return self.answer(200, {"id": repo, "sha": oid, "siblings": files})

        def file(self, body, repo, revision, name):
            data = hub.past[revision][name]
            about = _described(name, data)
            etag = about["lfs"]["sha256"] if "lfs" in about else about["blobId"]
            self.answer(200, data, ETag=f'"{etag}"', X_Repo_Commit=revision)

        def create(self, body):
            asked = json.loads(body)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer(403, {"error": "this token may only read"})
            hub.repos[f"{asked['organization']}/{asked['name']}"] = {}
            return self.answer(200, {"url": f"{hub.url}/{asked['organization']}/{asked['name']}"})

        def yaml(self, body):
            self.answer(200, {"errors": [], "warnings": []})

        def preupload(self, body, repo):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(_LARGE) else "regular" for name in names}
            files = [
                {"path": name, "uploadMode": mode, "shouldIgnore": False}
                for name, mode in modes.items()
            ]
            self.answer(200, {"files": files})

        def batch(self, body, repo):
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.url}/upload/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})

        def upload(self, body, oid):
            hub.uploads[oid] = body
            self.answer(200)

        def commit(self, body, repo):
            files = hub.repos[repo]
            for line in body.splitlines():
                key, value = (entry := json.loads(line))["key"], entry["value"]
                if key == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif key == "lfsFile":
                    files[value["path"]] = hub.uploads[value["oid"]]
                elif key == "deletedFile":
                    del files[value["path"]]
            oid = hub.commit(repo)
            self.answer(200, {"commitUrl": f"{hub.url}/{repo}/commit/{oid}", "commitOid": oid})

    repo = r"(?P<repo>[^/]+/[^/]+)"
    routes = {
        rf"GET /api/models/{repo}": Handler.info,
        rf"GET /api/models/{repo}/revision/(?P<revision>.+)": Handler.info,
        rf"(?:GET|HEAD) /{repo}/resolve/(?P<revision>[^/]+)/(?P<name>.+)": Handler.file,
        r"POST /api/repos/create": Handler.create,
        r"POST /api/validate-yaml": Handler.yaml,
        rf"POST /api/models/{repo}/preupload/main": Handler.preupload,
        rf"POST /{repo}\.git/info/lfs/objects/batch": Handler.batch,
        r"PUT /upload/(?P<oid>.+)": Handler.upload,
        rf"POST /api/models/{repo}/commit/main": Handler.commit,
    }
    return Handler


def _described(name: str, data: bytes) -> dict:
    """Returns a file as a listing of the hub has it."""
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    about = {"rfilename": name, "size": len(data), "blobId": blob}
    if name.endswith(_LARGE):
        sha256 = hashlib.sha256(data).hexdigest()
        about["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 1}
    return about


@contextlib.contextmanager
def running():
    """Serves a hub on a port of its own."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def reached(hub: Hub, cache):
    """Makes the client talk to a hub, with an empty cache and the token of the tests."""
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.items():
            patched.setattr(constants, name, value)
        patched.setattr(
            "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE",
            settings["HUGGINGFACE_CO_URL_TEMPLATE"],
        )
        patched.setenv("HF_TOKEN", TOKEN)
        patched.setenv("NO_PROXY", "127.0.0.1")
        forget()
        yield
    forget()


def forget() -> None:
    """Ends sessions of the client, and what addresses meant, as a new process would begin."""
    reset_sessions()
    sources._download.cache_clear()
