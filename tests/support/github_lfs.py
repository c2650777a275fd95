"""The files that GitHub's stand-in has in Git LFS: its batch API, and a storage of another host."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

TYPE = "application/vnd.git-lfs+json"


class LfsObjects:
    """`url` is where this is served as the storage; `downloads` are its requests' headers."""

    def __init__(self) -> None:
        self.url = ""
        self.downloads: list[dict[str, str]] = []
        self._objects: dict[str, bytes] = {}

    def store(self, content: bytes) -> str:
        """Keep a file; return its pointer, as it is committed."""
        oid = hashlib.sha256(content).hexdigest()
        self._objects[oid] = content
        return pointer(oid, len(content))

    async def batch(self, request: Request) -> Response:
        """`POST /OWNER/NAME.git/info/lfs/objects/batch`: where each object is."""
        asked = await request.json()
        assert asked["operation"] == "download", asked
        return JSONResponse(
            {"transfer": "basic", "objects": [self._place(one) for one in asked["objects"]]},
            media_type=TYPE,
        )

    def _place(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] not in self._objects:
            return {**found, "error": {"code": 404, "message": "Object does not exist"}}
        return {**found, "actions": {"download": {"href": f"{self.url}/{asked['oid']}"}}}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.downloads.append(dict(request.headers))
        await Response(self._objects[request.url.path[1:]])(scope, receive, send)


def pointer(oid: str, size: int) -> str:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"
