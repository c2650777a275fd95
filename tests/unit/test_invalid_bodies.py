"""An API's 422 says what was wrong even where JSON cannot repeat what was given."""

from __future__ import annotations

import httpx
import pytest
from pydantic import BaseModel

from functions.kit.contract import new_app_with_fastapi_errors


class Body(BaseModel):
    number: int


@pytest.mark.parametrize(
    "body",
    ['{"number": NaN}', '{"number": 1e999}', '{"number": "\\ud800"}', '{"number": {}}', "{}"],
)
async def test_what_does_not_fit_is_422_and_names_the_field(body: str) -> None:
    app = new_app_with_fastapi_errors("odd")

    @app.post("/")
    async def take(given: Body) -> None: ...

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://odd"
    ) as client:
        answer = await client.post("/", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", "number"]
    assert set(problem) == {"type", "loc", "msg", "input"}
