"""The one error of this package."""
from typing import Optional


class Error(Exception):
    """What went wrong, in the server's words where the server said it.

    code: a word for programs: `invalid`, `unauthorized`, `forbidden`, `not_found`, `conflict`, `too_large`, `busy`,
    `deadline`, `unavailable`, `io`, `canceled`, `failed`, `internal`.
    field: the field of the request or the argument that was wrong, else None.
    status: the HTTP status, else None.
    """

    def __init__(self, message: str, code: str = "internal", field: Optional[str] = None, status: Optional[int] = None,
                 retry_after_s: Optional[float] = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.status = status
        self.retry_after_s = retry_after_s


_CODES = {400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "invalid", 409: "conflict",
          413: "too_large", 415: "invalid", 429: "busy", 431: "too_large", 503: "unavailable", 504: "deadline"}


def code_of_status(status: int) -> str:
    """Returns the word for an HTTP status."""
    return _CODES.get(status, "internal" if status >= 500 else "invalid")
