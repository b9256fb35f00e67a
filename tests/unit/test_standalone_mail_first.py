"""Mail first: webhooks rest while much mail flows, and only then."""

from dataclasses import dataclass

import pytest

from standalone.mail_first import LONGEST_REST_S, MUCH_PER_S, SHARE, MailFirst


@dataclass
class Machine:
    """A clock, and processor time that is used when a test says so."""

    now_s: float = 1000.0
    used_s: float = 5.0


@pytest.fixture
def machine() -> Machine:
    """Give a machine that has run for a while."""
    return Machine()


@pytest.fixture
def mail(machine: Machine) -> MailFirst:
    """Give the measure on this machine."""
    return MailFirst(clock=lambda: machine.now_s, cpu=lambda: machine.used_s)


class TestRest:
    def test_none_without_much_mail(self, machine: Machine, mail: MailFirst) -> None:
        """Webhooks of a quiet installation come at once, however many there are."""
        for _ in range(20):
            mail.note(int(MUCH_PER_S / 4))
            machine.now_s += 1
            machine.used_s += 0.5

        assert not mail.much
        assert mail.rest_s() == 0

    def test_keeps_to_its_share_while_much_mail_flows(self, machine: Machine, mail: MailFirst) -> None:
        """What was used and what is rested give the share, whatever one run costs."""
        rested_s = 0.0
        used_s = 0.0
        for cost_s in (0.01, 0.2, 0.05, 0.1):
            mail.note(200)
            mail.rest_s()
            machine.used_s += cost_s
            used_s += cost_s
            rested_s += mail.rest_s()

        assert used_s / (used_s + rested_s) == pytest.approx(SHARE)

    def test_is_over_when_the_mail_is(self, machine: Machine, mail: MailFirst) -> None:
        """What was left lying is caught up with at full speed."""
        mail.note(5000)
        machine.used_s += 0.1
        busy = mail.rest_s()
        machine.now_s += 10
        machine.used_s += 0.1

        assert busy > 0
        assert mail.rest_s() == 0

    def test_has_an_end(self, machine: Machine, mail: MailFirst) -> None:
        """A machine that stood still must not rest for minutes afterwards."""
        mail.note(5000)
        machine.used_s += 1000

        assert mail.rest_s() == LONGEST_REST_S
