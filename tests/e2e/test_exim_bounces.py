"""A message goes out to a real Exim, and its report comes back in through port 25."""

from pathlib import Path

import pytest

from tests.e2e.exim_bouncing import ADDRESS, exim_bouncing
from tests.e2e.harness import running
from tests.e2e.postfix_relay import _free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e-postfix-bounces")]


class TestExim:
    def test_a_report_marks_exactly_its_message_and_recipient(self, tmp_path: Path) -> None:
        """Behind an alias too: Exim names the address that was written to."""
        port = _free_port()
        with exim_bouncing("127.0.0.1", port) as exim:
            settings = {
                "smtp_port": str(port),
                "smart_host": f"smtp://{ADDRESS}:{exim}?tls=opportunistic",
                "allow_networks": "smtp:127.7.0.0/16",
            }
            with running(tmp_path, **settings) as installation:
                sent = {name: installation.send(f"{name}@dest.test") for name in ("kept", "nobody", "alias")}
                for name in ("nobody", "alias"):
                    installation.until_status(sent[name], "Bounced")
                server = installation.secrets["server"]["permalink"]
                listed = installation.tree.run("suppression", "list", "--server", server)["suppressions"]

                assert installation.status(sent["kept"]) == "Sent"
                assert sorted(each["address"] for each in listed) == ["alias@dest.test", "nobody@dest.test"]
