"""A DNS record that gets lost is noticed by itself, and told once."""

from pathlib import Path

import pytest

from shared.domain.event import EventKind
from shared.domain.event_schemas import event_schema
from tests.e2e.harness import running, until
from tests.e2e.internet import NETWORK
from tests.e2e.test_webhooks import Receiver, endpoint
from tests.fakes.json_schema import problems

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NAME = "moving.test"


class TestLostRecord:
    def test_is_told_once_in_both_dialects_and_mail_goes_on(self, tmp_path: Path) -> None:
        """A zone moves to another provider, and a DKIM key is left behind."""
        own, postal = Receiver(), Receiver()
        with running(tmp_path, allow_networks=f"smtp:{NETWORK}.0/24,http:127.0.0.0/8", time_factor="3600") as here:
            server = here.secrets["server"]["permalink"]
            for each in here.tree.run("domain", "add", NAME, "--server", server)["records"]:
                others = here.internet.dns.zone.get(each["name"], {}).get("TXT", [])
                value = each["value"] if each["type"] == "CNAME" else [*others, each["value"]]
                here.internet.publish(each["name"], **{each["type"]: value})
            assert here.tree.run("domain", "verify", NAME)["verified"]
            healthy = here.tree.run("domain", "check", NAME)
            assert (healthy["ok"], healthy["dkim"]["status"], healthy["return_path"]["status"]) == (True, "OK", "OK")
            lost = f"{healthy['keys'][0]['selector']}._domainkey.{NAME}"

            with endpoint(here, own.url), endpoint(here, postal.url, "--dialect", "postal"):
                del here.internet.dns.zone[lost]
                until(lambda: own.taken and postal.taken, "both endpoints to be told")
                found = here.tree.run("domain", "show", NAME)["check"]
                until(
                    lambda: here.tree.run("domain", "show", NAME)["check"]["checked_at"] > found["checked_at"],
                    "another check",
                )
                here.send("user@example.com", **{"from": f"app@{NAME}"})
                here.until_delivered(["user@example.com"])
                about_domains = [each for each in own.bodies() if each["event"] == "DomainDNSError"]

            (told,), (as_postal,) = about_domains, postal.bodies()[:1]

        assert list(problems(told, event_schema(EventKind.DOMAIN_ERROR))) == []
        assert told["payload"] == as_postal["payload"]
        assert (told["event"], as_postal["event"], told["uuid"]) == ("DomainDNSError",) * 2 + (as_postal["uuid"],)
        assert told["payload"]["domain"] == NAME
        assert (told["payload"]["spf_status"], told["payload"]["spf_error"]) == ("OK", None)
        assert told["payload"]["dkim_status"] == "Missing"
        assert lost in told["payload"]["dkim_error"]
        assert [each["event"] for each in postal.bodies()].count("DomainDNSError") == 1
