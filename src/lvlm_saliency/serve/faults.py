"""Refused and failed requests, as error objects in the format of OpenAI's API."""

from __future__ import annotations

from typing import Any

from lvlm_saliency.errors import LvlmSaliencyError

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "server_error",
}


class Fault(LvlmSaliencyError):
    """A request that is refused, or that failed: HTTP status, message, and the parameter at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the reply."""
        kind = KINDS.get(self.status, "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the reply."""
        if self.retry_after is not None:
            return {"Retry-After": str(self.retry_after)}
        return {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}


def fault_of(error: BaseException) -> Fault:
    """Any error as a fault: a user's mistake as 400 with its message, everything else as 500 without details."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, LvlmSaliencyError):
        return Fault(400 if error.exit_status == 2 else 500, str(error))
    return Fault(500, "the server failed on this request; its log says more", code="internal_error")
