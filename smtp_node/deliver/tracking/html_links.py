"""Links of an HTML document and the end of its body, by position: nothing is parsed into a tree.

The tokenizer follows the HTML Standard (§13.2.5) as far as it decides where a tag
begins and ends: quoted and unquoted values, comments, bogus comments, and elements
whose content is text.  Each character is looked at a bounded number of times: what
is never closed ends the scan, as it ends the document for a browser.
"""

import re
from collections.abc import Iterator
from html.entities import html5
from typing import NamedTuple

_SPACE = r"[\t\n\f\r ]"
_TAG = re.compile(
    rf"""<(/?) ([A-Za-z][^\t\n\f\r />]*+)
         (?: [^=>]++ | = {_SPACE}*+ (?: "[^"]*+" | '[^']*+' | [^\t\n\f\r >"'][^\t\n\f\r >]*+ | (?=>) ) )*+ >""",
    re.VERBOSE,
)
_TAG_BEGINS = re.compile(r"</?[A-Za-z]")
_ATTRIBUTE = re.compile(
    rf"""[\t\n\f\r /]*+ ( [^\t\n\f\r />] [^\t\n\f\r />=]*+ ) {_SPACE}*+
         (?: = {_SPACE}*+ (?: "([^"]*+)" | '([^']*+)' | ([^\t\n\f\r >"'][^\t\n\f\r >]*+)?+ ) )?+""",
    re.VERBOSE,
)
_COMMENT_END = re.compile(r"--!?>")
_TEXT_ELEMENTS = {
    name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE | re.ASCII)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
"""Elements whose content is no markup (§13.2.6.2): it ends at their own end tag only."""

_ENTITY = re.compile(
    r"&(?:#([0-9]{1,7});?|#[xX]([0-9A-Fa-f]{1,6});?|([A-Za-z][A-Za-z0-9]{0,40})(;?)(?=(.?)))", re.DOTALL
)
_LONGEST_WITHOUT_SEMICOLON = max(len(name) for name in html5 if not name.endswith(";"))


class Link(NamedTuple):
    """The value of an ``href`` of an ``a`` or ``area``, without its quotes."""

    start: int
    end: int


class Marks(NamedTuple):
    """What was found in a document."""

    links: list[Link]
    pixel_at: int | None
    """Before the last ``</body>``, else at the end; None if the end is inside of something."""


def marks_in(html: str) -> Marks:
    """Return the links of a document in order, and where a pixel may stand."""
    links: list[Link] = []
    body_end: int | None = None
    at = html.find("<")
    while at >= 0:
        tag = _TAG.match(html, at)
        if tag is None:
            # A tag that never ends is dropped by a browser, with all that follows.
            after = -1 if _TAG_BEGINS.match(html, at) else _after_no_tag(html, at)
        else:
            after = tag.end()
            word = tag[2].lower()
            if tag[1]:
                body_end = at if word == "body" else body_end
            elif word in ("a", "area"):
                links += _href(html, tag.end(2), after - 1)
            elif word in _TEXT_ELEMENTS:
                closing = _TEXT_ELEMENTS[word].search(html, after)
                after = closing.start() if closing is not None else -1
            elif word == "plaintext":
                after = -1
        if after < 0:
            return Marks(links, body_end)
        at = html.find("<", after)
    return Marks(links, len(html.rstrip("\t\n\f\r ")) if body_end is None else body_end)


def _after_no_tag(html: str, at: int) -> int:
    """Return where the comment that ``<`` begins has ended; -1 if it does not, and right after it if it is text."""
    if html.startswith("<!--", at):
        # §13.2.5.43: <!--> and <!---> are comments too.
        for short in ("<!-->", "<!--->"):
            if html.startswith(short, at):
                return at + len(short)
        end = _COMMENT_END.search(html, at + 4)
        return end.end() if end else -1
    if html.startswith(("<!", "<?", "</"), at):
        if html.startswith("</>", at):
            return at + 3
        end_at = html.find(">", at + 2)
        return end_at + 1 if end_at >= 0 else -1
    return at + 1


def _href(html: str, start: int, end: int) -> Iterator[Link]:
    """Yield the tag's first href: browsers ignore a second one."""
    at = start
    while at < end and (found := _ATTRIBUTE.match(html, at, end)) is not None:
        at = found.end()
        if found[1].lower() == "href":
            group = found.lastindex or 1
            if group > 1:
                yield Link(*found.span(group))
            return


def attribute_text(value: str) -> str:
    """Return an attribute's value with its character references decoded (HTML Standard §13.2.5.72 ff).

    Unlike ``html.unescape``: in an attribute ``&copy=1`` is no reference, because
    it has no semicolon and a letter, a digit or ``=`` follows.
    """
    return _ENTITY.sub(_decoded, value) if "&" in value else value


def _decoded(found: re.Match[str]) -> str:
    decimal, hexadecimal, name, semicolon, after = found.groups()
    if name is None:
        number = int(decimal) if decimal else int(hexadecimal, 16)
        # What no address holds anyway stays as it is written, and the link with it.
        return chr(number) if 0 < number < 0xD800 or 0xE000 <= number < 0x110000 else found[0]
    if semicolon and f"{name};" in html5:
        return html5[f"{name};"]
    for length in range(min(len(name), _LONGEST_WITHOUT_SEMICOLON), 1, -1):
        if name[:length] in html5:
            follows = name[length : length + 1] or (semicolon or after)
            if follows == "=" or (follows.isascii() and follows.isalnum()):
                return found[0]
            return html5[name[:length]] + found[0][1 + length :]
    return found[0]
