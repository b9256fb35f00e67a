"""Which links are found in HTML and in text, and where they lead."""

import random
from collections.abc import Callable

import pytest

from smtp_node.deliver.tracking.html_links import attribute_text, marks_in
from smtp_node.deliver.tracking.targets import Target, target_of
from smtp_node.deliver.tracking.text_links import links_in


def hrefs(html: str) -> list[str]:
    """Return the values of all links of a document."""
    return [html[start:end] for start, end in marks_in(html).links]


def addresses(text: str, **how: bool) -> list[str]:
    """Return all links of a text."""
    return [text[start:end] for start, end in links_in(text, **how)]


class TestMarksIn:
    @pytest.mark.parametrize(
        ("html", "found"),
        [
            ('<a href="http://x.test/">', ["http://x.test/"]),
            ("<A HREF='http://x.test/'>", ["http://x.test/"]),
            ("<a href=http://x.test/>", ["http://x.test/"]),
            ("<a href = \n'http://x.test/' class=b>", ["http://x.test/"]),
            ('<a\tclass="a>b"\r\nhref="http://x.test/">', ["http://x.test/"]),
            ('<area shape=rect href="http://x.test/">', ["http://x.test/"]),
            ('<a title="<a href=no>" href="http://x.test/">', ["http://x.test/"]),
            ('<a data-href="no" xhref=no href="http://x.test/">', ["http://x.test/"]),
            ('<a href="http://one.test/" href="http://two.test/">', ["http://one.test/"]),
            ('<a/href="http://x.test/"/>', ["http://x.test/"]),
            ("<a =x href=http://x.test/>", ["http://x.test/"]),
            ('<a title=it\'s href="http://x.test/">', ["http://x.test/"]),
            ("<a disabled href>", []),
            ('<a href="">', [""]),
            ('<link href="http://x.test/"><base href="http://x.test/"><img href="http://x.test/">', []),
            ('<abbr href="http://x.test/"><article href="http://x.test/">', []),
            ('</a href="http://x.test/">', []),
            ('< a href="http://x.test/">', []),
            ('<!-- <a href="http://no.test/"> --><a href="http://x.test/">', ["http://x.test/"]),
            ('<!--> <a href="http://x.test/"> -->', ["http://x.test/"]),
            ('<!-- a --!><a href="http://x.test/">', ["http://x.test/"]),
            ('<!--[if mso]><a href="http://no.test/"><![endif]--><a href="http://x.test/">', ["http://x.test/"]),
            ('<![if !mso]><a href="http://x.test/"><![endif]>', ["http://x.test/"]),
            ('<script>"<a href=http://no.test/>"</script><a href="http://x.test/">', ["http://x.test/"]),
            ("<style>a::after{content:'<a href=http://no.test/>'}</STYLE ><a href=http://x.test/>", ["http://x.test/"]),
            ("<title><a href=http://no.test/></titles></title><a href=http://x.test/>", ["http://x.test/"]),
            ("<textarea><a href=http://no.test/>", []),
            ("<plaintext><a href=http://no.test/>", []),
            ('<a href="http://never.closed.test/', []),
            ('<a href="http://x.test/"', []),
            ("<p title=\"<a href='http://no.test/'>", []),
        ],
    )
    def test_finds_what_a_browser_follows(self, html: str, found: list[str]) -> None:
        """A link inside a comment, a script or another attribute is none (HTML Standard §13.2.5)."""
        assert hrefs(html) == found

    @pytest.mark.parametrize(
        ("html", "rest"),
        [
            ("<body>x</body></html>", "</body></html>"),
            ("<body>x</body>y</BODY >", "</BODY >"),
            ("<body>x<!-- </body> --></body>", "</body>"),
            ("<p>x</p>\r\n\r\n", "\r\n\r\n"),
            ("<body>x</body><script>'</body>'</script>", "</body><script>'</body>'</script>"),
            ("x", ""),
            ("", ""),
        ],
    )
    def test_knows_where_a_pixel_goes(self, html: str, rest: str) -> None:
        """Before the last end of the body that is one, else at the end, before the final line end."""
        at = marks_in(html).pixel_at

        assert at is not None
        assert html[at:] == rest

    @pytest.mark.parametrize("html", ["<p>x<!-- open", "<p>x<script>open", "<p>x<a href='open", "<plaintext>"])
    def test_an_end_inside_of_something_takes_no_pixel(self, html: str) -> None:
        """It would be shown as text, or be swallowed."""
        assert marks_in(html).pixel_at is None


class TestAttributeText:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("?a=1&amp;b=2", "?a=1&b=2"),
            ("?a=1&b=2", "?a=1&b=2"),
            ("?a=1&copy=2", "?a=1&copy=2"),
            ("?a=1&copy;=2", "?a=1©=2"),
            ("?a=1&copy", "?a=1©"),
            ("?a=1&copy&b", "?a=1©&b"),
            ("?x=&lt", "?x=<"),
            ("?x=&ltb", "?x=&ltb"),
            ("?x=&notit;", "?x=&notit;"),
            ("&#104;ttp&#x3a;//x", "http://x"),
            ("&#104ttp", "http"),
            ("&#0;&#xD800;", "&#0;&#xD800;"),
            ("&unknown;&", "&unknown;&"),
        ],
    )
    def test_decodes_as_browsers_do(self, written: str, meant: str) -> None:
        """``&copy=`` in a query is no copyright sign: html.unescape would break that link."""
        assert attribute_text(written) == meant


class TestTargetOf:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("https://x.test", "https://x.test"),
            ("  HTTP://X.test/a\tb\n ", "HTTP://X.test/ab"),
            ("https://x.test/a b", "https://x.test/a%20b"),
            ("https://x.test/é?q=é#é", "https://x.test/%C3%A9?q=%C3%A9#%C3%A9"),
            ("https://bücher.test:8080/", "https://xn--bcher-kva.test:8080/"),
            ("https://user:pw@x.test/", "https://user:pw@x.test/"),
            ("https://x.test/{{token}}?a=%7B|", "https://x.test/{{token}}?a=%7B|"),
            ("http://[2001:db8::1]/", "http://[2001:db8::1]/"),
        ],
    )
    def test_is_what_a_browser_asks_for(self, text: str, url: str) -> None:
        """The Location must lead exactly where the link led."""
        target = target_of(text)

        assert target is not None
        assert target.url == url

    @pytest.mark.parametrize(
        "text",
        [
            "", "#x", "/path", "//x.test/", "mailto:a@x.test", "tel:+1", "javascript:alert(1)", "data:text/html,x",
            "http:x.test", "http:/x.test", "https://", "https:///x", "https://a b/", "ftp://x.test/", "{{url}}",
            "cid:http://x.test", "xhttp://x.test/", "https://\ud800.test/",
            "https://x.test/" + "a" * 2000,
            "https://x.test/" + "é" * 500,
        ],
    )  # fmt: skip
    def test_anything_else_is_none(self, text: str) -> None:
        """What is not surely an http address stays as it is."""
        assert target_of(text) is None

    def test_a_query_in_another_charset_is_not_certain(self) -> None:
        """Browsers encode it in the document's charset, readers that convert the mail to UTF-8 do not."""
        assert target_of("https://x.test/?q=é", utf8_query=False) is None
        assert target_of("https://x.test/é?q", utf8_query=False) is not None

    def test_the_mark_is_taken_off(self) -> None:
        """Postal's opt-out for one link."""
        assert target_of("https+notrack://X.test/a") == Target("https://X.test/a", "x.test", notrack=True)


class TestLinksIn:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("see https://x.test/a.", ["https://x.test/a"]),
            ("see https://x.test/a/, and http://y.test", ["https://x.test/a/", "http://y.test"]),
            ("(https://x.test/a_(b))", ["https://x.test/a_(b)"]),
            ("[text](https://x.test/a)", ["https://x.test/a"]),
            ("<https://x.test/a>", ["https://x.test/a"]),
            ("<https://x.test/a\r\nb>", []),
            ("https://x.test/?a=1&b=2;c#d!", ["https://x.test/?a=1&b=2;c#d"]),
            ("HTTPS://X.TEST/A", ["HTTPS://X.TEST/A"]),
            ("https+notrack://x.test/", ["https+notrack://x.test/"]),
            ("xhttps://x.test/ a.https://x.test/", []),
            ("https:// https://. http://\r\n", []),
            ("*https://x.test/*", []),
            ("请看https://x.test/a。谢谢", ["https://x.test/a"]),
            ("https://x.test/a谢谢", []),
            ("https://x.test/café ok", ["https://x.test/café"]),
            ("“https://x.test/a”", ["https://x.test/a"]),
            ("https://x.test/a\u00a0b", ["https://x.test/a"]),
        ],
    )
    def test_finds_what_readers_agree_on(self, text: str, found: list[str]) -> None:
        """Postal cuts a final slash off, and so changes where the link leads."""
        assert addresses(text) == found

    def test_a_link_that_goes_on_in_the_next_flowed_line_is_left_alone(self) -> None:
        """RFC 3676 §4.2: with DelSp the space and the line end vanish, and the halves are one address."""
        text = "https://x.test/long \r\npath\r\nhttps://x.test/b\r\n"

        assert addresses(text, flowed_without_spaces=True) == ["https://x.test/b"]
        assert addresses(text) == ["https://x.test/long", "https://x.test/b"]


HOSTILE = {
    "comments": lambda size: "<!--" * size,
    "open tags": lambda size: "<a " * size,
    "open hrefs": lambda size: "<a href=" * size,
    "quotes": lambda size: "<a href=\"'" * size,
    "equals": lambda size: "<a " + "=" * size * 4,
    "spaces": lambda size: "<a href" + " " * size * 4 + "x",
    "slashes": lambda size: "<a" + "/" * size * 4,
    "scripts": lambda size: "<script></scrip>" * size,
    "ends": lambda size: "</" * size,
    "entities": lambda size: '<a href="http://x.test/' + "&am" * size + '">',
}
HOSTILE_TEXT = {
    "starts": lambda size: "http://" * size,
    "brackets": lambda size: "http://x.test/" + ")" * size * 4,
    "spaces": lambda size: " " * size * 4,
    "one line": lambda size: "http://x.test/a," * size,
    "pairs": lambda size: "(http://x.test/a)" * size,
}


class TestHostileInput:
    """A megabyte each: in quadratic time none of these would end before the suite's own limit of five minutes."""

    @pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
    def test_html_ends(self, make: Callable[[int], str]) -> None:
        """One sender's message must not hold up a node."""
        html = make(250_000)

        marks = marks_in(html)

        assert all(attribute_text(html[start:end]) is not None for start, end in marks.links)

    @pytest.mark.parametrize("make", HOSTILE_TEXT.values(), ids=HOSTILE_TEXT.keys())
    def test_text_ends(self, make: Callable[[int], str]) -> None:
        """The same for plain text."""
        text = make(250_000)

        assert all(start < end for start, end in links_in(text))

    def test_noise_does_no_harm(self) -> None:
        """Whatever is in it, positions lie inside and in order."""
        rng = random.Random(4)
        pieces = [
            "<a ",
            "href",
            "=",
            '"',
            "'",
            ">",
            "<!--",
            "-->",
            "</body>",
            "<script>",
            "http://x.test",
            " ",
            "&amp",
            "/",
        ]
        for _ in range(2000):
            html = "".join(rng.choices(pieces, k=20))
            marks = marks_in(html)
            flat = [at for link in marks.links for at in (link.start, link.end)]
            assert flat == sorted(flat)
            assert marks.pixel_at is None or 0 <= marks.pixel_at <= len(html)
