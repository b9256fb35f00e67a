"""Pixel, redirect and unsubscribe: what they answer, what they record, and what they refuse."""

import json
import random
from typing import Any

import pytest

from functions.edge.door import answered
from functions.pixel.handler import answer as pixel
from functions.redirect.handler import answer as redirect
from functions.unsubscribe.handler import answer as unsubscribe
from shared.domain.event import Event, EventKind
from shared.tokens import CLICK, OPEN, UNSUBSCRIBE, Named, Tokens, rotated
from tests.fakes.visits import FIREFOX, HOST, NAMED, NOW, TARGET, TOKENS, World, visit

ONE_CLICK = b"List-Unsubscribe=One-Click"
FUNCTIONS = {"/o/": (pixel, OPEN), "/c/": (redirect, CLICK), "/u/": (unsubscribe, UNSUBSCRIBE)}


def path(prefix: str, named: Named = NAMED, host: str = HOST) -> str:
    """Return the path of a token."""
    named = named._replace(target=TARGET) if prefix == "/c/" and not named.target else named
    return prefix + TOKENS.make(FUNCTIONS[prefix][1], host, named)


def ask(world: World, prefix: str, event: dict[str, Any]) -> dict[str, Any]:
    """Run a function on an event as Lambda does."""
    return answered(FUNCTIONS[prefix][0](event, world.services), world.services)


def events(world: World) -> list[Event]:
    """Return what was recorded, read as the consumer reads it."""
    return [Event.from_json(hit.body) for hit in world.hits]


class TestPixel:
    def test_shows_a_pixel_and_records_an_open(self) -> None:
        """An open of a person, with what is known of it."""
        world = World()

        answer = ask(world, "/o/", visit(path("/o/")))

        assert (answer["statusCode"], answer["headers"]["content-type"]) == (200, "image/gif")
        assert "no-store" in answer["headers"]["cache-control"]
        [event] = events(world)
        assert (event.kind, event.server_id, event.message_id, event.at) == (EventKind.OPENED, *NAMED[:2], NOW)
        assert event.data == {"ip": "192.0.2.7", "user_agent": FIREFOX, "class": "human", "reason": "no rule applies"}

    def test_head_counts_for_nothing(self) -> None:
        """Nobody has seen anything; Postal counts it."""
        world = World()

        assert ask(world, "/o/", visit(path("/o/"), "HEAD"))["statusCode"] == 200
        assert world.hits == []


class TestRedirect:
    def test_leads_to_the_target_and_records_a_click(self) -> None:
        """The very address that was in the message."""
        world = World()

        answer = ask(world, "/c/", visit(path("/c/")))

        assert (answer["statusCode"], answer["headers"]["location"]) == (307, TARGET)
        [event] = events(world)
        assert (event.kind, event.data["url"], event.data["class"]) == (EventKind.CLICKED, TARGET, "human")

    def test_goes_on_while_the_event_store_is_down(self) -> None:
        """A recipient must not wait for our statistics."""
        world = World()
        world.failing = True

        assert ask(world, "/c/", visit(path("/c/")))["headers"]["location"] == TARGET
        assert ask(world, "/o/", visit(path("/o/")))["statusCode"] == 200

    @pytest.mark.parametrize(
        "query", ["url=http://evil.test/", "//evil.test", "%0d%0aSet-Cookie:a=b", "u=javascript:1"]
    )
    def test_nothing_in_the_request_changes_the_target(self, query: str) -> None:
        """Open redirects are made of parameters that somebody believes."""
        world = World()
        event = visit(path("/c/")) | {"rawQueryString": query}
        event["headers"] |= {"x-forwarded-host": "evil.test", "referer": "http://evil.test/", "x-original-url": "/evil"}

        assert ask(world, "/c/", event)["headers"]["location"] == TARGET

    @pytest.mark.parametrize(
        "target",
        [
            "javascript:alert(1)",
            "//evil.test/",
            "data:text/html,x",
            "/local",
            "ftp://x.test/",
            "http://x.test/\r\nA: b",
            "",
        ],
    )
    def test_a_signed_target_is_checked_once_more(self, target: str) -> None:
        """Even with our own key nothing but an http address becomes a Location."""
        token = TOKENS.make(CLICK, HOST, NAMED._replace(target=target))

        answer = ask(World(), "/c/", visit(f"/c/{token}"))

        assert answer["statusCode"] == 404
        assert "location" not in answer["headers"]

    @pytest.mark.parametrize(
        "path",
        [
            "/c/",
            "/c//evil.test",
            "/c/http://evil.test/",
            "/c/..",
            "/c/%00",
            "/c/javascript:x",
            "//evil.test",
            "/",
            "/c",
        ],
    )
    def test_what_is_no_token_leads_nowhere(self, path: str) -> None:
        """There is one answer for all of them."""
        world = World()

        answer = ask(world, "/c/", visit(path))

        assert (answer["statusCode"], world.touched) == (404, 0)


class TestForgeries:
    @pytest.mark.parametrize("prefix", FUNCTIONS)
    def test_a_thousand_are_refused_before_anything_is_asked(self, prefix: str) -> None:
        """Changed, cut, of another kind, of another tenant's host, of another installation."""
        rng, world = random.Random(11), World()
        kind = FUNCTIONS[prefix][1]
        other_kind = OPEN if kind != OPEN else CLICK
        stranger = Tokens(rotated(None, random.Random(99).randbytes))
        statuses = set()
        for number in range(1000):
            named = Named(rng.randrange(1, 2**31), rng.randrange(1, 2**53), TARGET)
            good = TOKENS.make(kind, HOST, named)
            at = rng.randrange(len(good))
            forged = (
                good[:at] + rng.choice([each for each in "AbC-9" if each != good[at]]) + good[at + 1 :],
                good[: rng.randrange(len(good))],
                TOKENS.make(other_kind, HOST, named),
                TOKENS.make(kind, "track.other.test", named),
                stranger.make(kind, HOST, named),
            )[number % 5]
            event = visit(prefix + forged, "POST" if prefix == "/u/" else "GET", body=ONE_CLICK)
            statuses.add(ask(world, prefix, event)["statusCode"])

        assert statuses == {404}
        assert (world.hits, world.touched) == ([], 0)

    @pytest.mark.parametrize("host", ["", "evil.test", "[::1]", "track.example.test.evil.test", "a\0b", "x" * 300])
    def test_another_host_is_refused(self, host: str) -> None:
        """One tenant's tokens mean nothing under another's name."""
        world = World()

        assert ask(world, "/o/", visit(path("/o/"), host=host))["statusCode"] == 404
        assert world.touched == 0

    @pytest.mark.parametrize("host", ["_t.example.test", "xn--bcher-kva.test", "a-b.c"])
    def test_every_name_that_can_be_added_works(self, host: str) -> None:
        """What the command line takes must not end in links that lead nowhere."""
        assert ask(World(), "/o/", visit(path("/o/", host=host), host=host))["statusCode"] == 200

    @pytest.mark.parametrize("host", ["TRACK.example.test", "track.example.test:8443", "track.example.test."])
    def test_spellings_of_the_host_are_one(self, host: str) -> None:
        """RFC 9110 §4.2.3: case and port do not make another host of it."""
        assert ask(World(), "/o/", visit(path("/o/"), host=host))["statusCode"] == 200


class TestSuspended:
    @pytest.mark.parametrize("prefix", FUNCTIONS)
    def test_answers_gone(self, prefix: str) -> None:
        """Links of a phisher stop working within a minute."""
        world = World()
        world.suspended = frozenset({NAMED.server_id})

        answer = ask(world, prefix, visit(path(prefix)))

        assert (answer["statusCode"], world.hits) == (410, [])


class TestMethods:
    @pytest.mark.parametrize(
        ("prefix", "method"), [("/o/", "POST"), ("/c/", "PUT"), ("/u/", "DELETE"), ("/c/", "OPTIONS")]
    )
    def test_others_are_refused(self, prefix: str, method: str) -> None:
        """RFC 9110 §15.5.6: with what is allowed."""
        answer = ask(World(), prefix, visit(path(prefix), method))

        assert answer["statusCode"] == 405
        assert "GET" in answer["headers"]["allow"]


class TestVisitors:
    @pytest.mark.parametrize(
        ("headers", "kind", "reason"),
        [
            ({"user_agent": "Mozilla/5.0"}, "privacy_proxy", "Apple Mail Privacy Protection"),
            (
                {"user_agent": "Mozilla/5.0 (Windows NT 5.1) Firefox/11.0 (via ggpht.com GoogleImageProxy)"},
                "privacy_proxy",
                "Gmail image proxy",
            ),
            ({"user_agent": "YahooMailProxy; https://help.yahoo.com/"}, "privacy_proxy", "Yahoo Mail image proxy"),
            ({"user_agent": ""}, "link_scanner", "no user agent"),
            ({"user_agent": "python-requests/2.31"}, "link_scanner", "program"),
            ({"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}, "link_scanner", "crawler"),
            ({"user_agent": "Barracuda Sentinel (EE)"}, "link_scanner", "Barracuda"),
            ({"sec_purpose": "prefetch;prerender"}, "prefetch", "sec-purpose header"),
            ({"purpose": "prefetch"}, "prefetch", "purpose header"),
            ({"x_moz": "prefetch"}, "prefetch", "x-moz header"),
            ({}, "human", "no rule applies"),
            ({"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)"}, "human", "no rule applies"),
        ],
    )  # fmt: skip
    def test_are_told_apart_with_the_reason(self, headers: dict[str, str], kind: str, reason: str) -> None:
        """Both numbers are kept: all, and those of people."""
        world = World()

        ask(world, "/o/", visit(path("/o/"), **headers))

        assert [(event.data["class"], event.data["reason"]) for event in events(world)] == [(kind, reason)]

    def test_a_long_user_agent_is_cut(self) -> None:
        """Eight kilobytes in each hit would fill the event log."""
        world = World()

        ask(world, "/o/", visit(path("/o/"), user_agent="x\x00\x1b" * 8000))

        assert events(world)[0].data["user_agent"] == "x" * 300

    @pytest.mark.parametrize("ip", ["evil", "1.2.3.4\r\n", "", "x" * 100])
    def test_an_address_that_is_none_is_left_out(self, ip: str) -> None:
        """Only addresses are kept as addresses."""
        world = World()

        ask(world, "/o/", visit(path("/o/"), ip=ip))

        assert "ip" not in events(world)[0].data


class TestEvents:
    def test_have_the_form_that_the_consumer_writes_itself(self) -> None:
        """Two ways to make one wire form, held together here."""
        world = World()
        ask(world, "/o/", visit(path("/o/")))
        ask(world, "/c/", visit(path("/c/")))
        ask(world, "/u/", visit(path("/u/"), "POST", body=ONE_CLICK))

        assert [hit.body for hit in world.hits] == [event.to_json() for event in events(world)]
        assert [hit.server_id for hit in world.hits] == [NAMED.server_id] * 3

    def test_two_visitors_are_two_events_and_a_repetition_is_one(self) -> None:
        """A browser that asks twice has opened once; somebody else has opened it too."""
        world = World()
        for ip, seconds in (("192.0.2.7", 0), ("192.0.2.7", 0), ("192.0.2.8", 0), ("192.0.2.7", 60)):
            services = world.services._replace(now=lambda seconds=seconds: NOW.timestamp() + seconds)
            answered(pixel(visit(path("/o/"), ip=ip), services), services)

        assert len({event.id for event in events(world)}) == 3

    def test_ten_thousand_opens_make_a_trickle_of_events(self) -> None:
        """No number of hits fills a queue or makes an item grow, and none is uncounted."""
        seconds = iter(range(10_000))
        world = World(monotonic=lambda: float(next(seconds)))

        for number in range(10_000):
            assert ask(world, "/o/", visit(path("/o/"), ip=f"10.0.{number // 250}.{number % 250}"))["statusCode"] == 200

        found = events(world)
        counted = len(found) + sum(event.data.get("skipped", 0) for event in found)
        assert len(found) <= 20 + 10_000 // 60 + 1
        assert 10_000 - 61 <= counted <= 10_000
        assert max(len(hit.body) for hit in world.hits) < 1000

    def test_the_count_of_one_message_holds_up_no_other(self) -> None:
        """Everybody's opens count, whoever is flooded."""
        world = World()
        for _ in range(100):
            ask(world, "/o/", visit(path("/o/")))
        ask(world, "/o/", visit(path("/o/", NAMED._replace(message_id=5))))

        assert events(world)[-1].message_id == 5


class TestUnsubscribe:
    def test_get_never_unsubscribes(self) -> None:
        """Scanners follow every link (RFC 8058 §1)."""
        world = World()

        answer = ask(world, "/u/", visit(path("/u/")))

        assert (answer["statusCode"], world.hits) == (200, [])
        assert '<form method="post">' in answer["body"]
        assert "frame-ancestors 'none'" in answer["headers"]["content-security-policy"]

    @pytest.mark.parametrize(
        "body",
        [
            ONE_CLICK,
            b"List-Unsubscribe=One-Click&page=1",
            b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
            b"--x\r\nContent-Disposition: form-data; name=List-Unsubscribe\r\nA: b\r\n\r\nOne-Click\r\n--x--",
        ],
    )  # fmt: skip
    def test_post_does(self, body: bytes) -> None:
        """RFC 8058 §3.1: both kinds of form, no cookie, no redirect."""
        world = World()

        answer = ask(world, "/u/", visit(path("/u/"), "POST", body=body))

        assert answer["statusCode"] == 200
        assert not {"location", "set-cookie"} & set(answer["headers"])
        assert [(event.kind, event.message_id) for event in events(world)] == [
            (EventKind.UNSUBSCRIBED, NAMED.message_id)
        ]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"x",
            b"List-Unsubscribe=",
            b"List-Unsubscribe=Two",
            b"xList-Unsubscribe=One-Click",
            b"a=List-Unsubscribe=One-Click",
            b"\xff" * 99,
        ],
    )
    def test_a_post_without_the_word_does_not(self, body: bytes) -> None:
        """Some scanners post forms that they find."""
        world = World()

        assert ask(world, "/u/", visit(path("/u/"), "POST", body=body))["statusCode"] == 400
        assert world.hits == []

    def test_twice_is_one_event(self) -> None:
        """The same happening has the same id."""
        world = World()
        for ip in ("192.0.2.1", "192.0.2.2"):
            ask(world, "/u/", visit(path("/u/"), "POST", body=ONE_CLICK, ip=ip))

        assert len({event.id for event in events(world)}) == 1

    def test_is_not_promised_before_it_is_kept(self) -> None:
        """A person who reads "unsubscribed" must be."""
        world = World()
        world.failing = True

        answer = ask(world, "/u/", visit(path("/u/"), "POST", body=ONE_CLICK))

        assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "60")

    def test_the_pages_say_nothing_of_the_recipient(self) -> None:
        """Mail is forwarded, and so are its links."""
        bodies = [ask(World(), "/u/", visit(path("/u/"), method, body=ONE_CLICK))["body"] for method in ("GET", "POST")]

        assert all("@" not in body and str(NAMED.message_id) not in body for body in bodies)
        assert json.dumps(bodies).count("lang=") == 2
