"""Multipart forms (RFC 7578), read from memory for the few fields that an API call has."""

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from functions.api.errors import ParameterProblem

MAX_PARTS = 1000


class _Fields:
    """Gathers the parts as the parser calls back; a file counts as a field with its content."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bytes]] = []
        self._header = b""
        self._value = b""
        self._name = ""
        self._data: list[bytes] = []

    def begin_part(self) -> None:
        if len(self.found) >= MAX_PARTS:
            raise FormParserError("too many parts")
        self._name, self._data = "", []

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def end_part(self) -> None:
        self.found.append((self._name, b"".join(self._data)))


def multipart_fields(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Return names and contents of a form's parts, in order.

    Raises:
        ParameterProblem: no boundary, a malformed form, or too many parts.
    """
    _, options = parse_options_header(content_type)
    fields = _Fields()
    try:
        parser = MultipartParser(
            options.get(b"boundary", b""),
            {
                "on_part_begin": fields.begin_part,
                "on_header_field": fields.header_name,
                "on_header_value": fields.header_value,
                "on_header_end": fields.end_header,
                "on_part_data": fields.data,
                "on_part_end": fields.end_part,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as exc:
        raise ParameterProblem("The multipart form could not be read", http_status=400) from exc
    return fields.found
