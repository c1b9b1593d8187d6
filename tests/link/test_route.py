"""Where to connect and how long to wait, without sockets."""

import random
from base64 import b64decode

import pytest

from cpctl.core.settings import Settings
from cpctl.link.errors import LinkError
from cpctl.link.route import BackOff, Route


def settings(**texts):
    made = Settings()
    for name, text in texts.items():
        made = made.with_text(f"link.{name}", text)
    return made


@pytest.mark.requirement("16.RPC.1")
@pytest.mark.parametrize(("url", "identity", "full"), [
    ("ws://h/ocpp", "CP001", "ws://h/ocpp/CP001"),
    ("ws://h:8080/ocpp/", "CP001", "ws://h:8080/ocpp/CP001"),
    ("wss://h", "RDAM|123", "wss://h/RDAM%7C123"),
    ("ws://h/a b", "a/b c", "ws://h/a%20b/a%2Fb%20c"),
    ("ws://h/x%20y", "ä", "ws://h/x%20y/%C3%A4"),
    ("ws://h/ocpp?tenant=a b", "CP", "ws://h/ocpp/CP?tenant=a%20b"),
    ("ws://[::1]:9000/p", "CP", "ws://[::1]:9000/p/CP"),
    ("ws://user:pass@h/p", "CP", "ws://h/p/CP"),
])
def test_the_identity_is_appended_percent_encoded(url, identity, full):
    assert Route(url, identity).address() == full


@pytest.mark.parametrize("url", ["http://h/ocpp", "h/ocpp", "ws://", ""])
def test_an_address_that_is_no_websocket_is_refused_by_name(url):
    with pytest.raises(LinkError, match=r"csms\.url"):
        Route(url, "CP").address()


def test_profiles_2_and_3_refuse_an_open_line():
    with pytest.raises(LinkError, match="wss://"):
        Route("ws://h/ocpp", "CP", security_profile=2).address()


@pytest.mark.requirement("16.SEC.1")
@pytest.mark.parametrize("profile", [1, 2])
def test_basic_authentication_carries_any_bytes(profile):
    password = bytes(range(1, 8)) + b"\xff\xfe:"
    route = Route("wss://h", "AL1000", security_profile=profile, password=password)

    ((name, value),) = route.headers()

    assert name == "Authorization"
    assert b64decode(value.removeprefix("Basic ")) == b"AL1000:" + password


@pytest.mark.parametrize("profile", [0, 3])
def test_without_basic_authentication_no_password_is_told(profile):
    assert Route("wss://h", "CP", security_profile=profile, password=b"x").headers() == ()


def test_a_password_is_never_shown():
    assert "geheim" not in repr(Route("ws://h", "CP", password=b"geheim"))


@pytest.mark.requirement("16.RPC.12")
def test_waits_double_up_to_the_limit_and_begin_anew_after_success():
    back_off = BackOff(random.Random(1))
    given = settings(wait_min_s="10", wait_random_s="0", wait_repeat="3")

    waits = [back_off.next_wait_s(given) for _ in range(6)]
    back_off.reset()

    assert waits == [10, 20, 40, 80, 80, 80]
    assert back_off.next_wait_s(given) == 10
    assert back_off.longest_s(given) == 80


@pytest.mark.requirement("16.RPC.12")
def test_every_wait_has_its_random_part():
    back_off = BackOff(random.Random(1))
    given = settings(wait_min_s="10", wait_random_s="5", wait_repeat="0")

    waits = [back_off.next_wait_s(given) for _ in range(50)]

    assert all(10 <= wait < 15 for wait in waits)
    assert len(set(waits)) > 10
