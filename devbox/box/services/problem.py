"""Errors that are answers: raised anywhere below a request, they become its status and body.

    raise Problem(400, "image_base64 is no picture")
    app = Starlette(routes=[…], exception_handlers=handlers())

The body is {"error": text}. Any other exception is a 500 with its type and text; the server logs
its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Awaitable, Callable, Dict, Mapping, Optional, Type, Union

if TYPE_CHECKING:
    from starlette.responses import Response

Handler = Callable[[object, Exception], Awaitable["Response"]]


class Problem(Exception):
    """status: of the answer, 400–599. headers: further ones of it."""

    def __init__(self, status: int, text: str, headers: Optional[Mapping[str, str]] = None) -> None:
        super().__init__(text)
        self.status, self.headers = status, dict(headers or {})


async def _answer(_: object, error: Exception) -> Response:
    from starlette.responses import JSONResponse

    if isinstance(error, Problem):
        return JSONResponse({"error": str(error)}, error.status, error.headers)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):  # Starlette's own: no such route, method not allowed
        headers = getattr(error, "headers", None)
        return JSONResponse({"error": getattr(error, "detail", "")}, status, headers)
    return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 500)


def handlers() -> Dict[Union[int, Type[Exception]], Handler]:
    """For `Starlette(exception_handlers=handlers())`."""
    from starlette.exceptions import HTTPException

    return {Problem: _answer, HTTPException: _answer, Exception: _answer}
