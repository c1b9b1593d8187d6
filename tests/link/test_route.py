"""Where to connect and how long to wait, without sockets."""

import random
from base64 import b64decode

import pytest

from cpctl.core.events import AccessProved
from cpctl.core.settings import Settings
from cpctl.link.errors import LinkError, Why
from cpctl.link.route import BackOff, Choices, Itinerary, Route


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


# --- which way is tried next -----------------------------------------------------------------


class Ways:
    """An itinerary over choices that a test changes."""

    def __init__(self, **choices):
        self.choices = Choices("wss://h/ocpp", "CP", **choices)
        self.itinerary = Itinerary(lambda: self.choices)

    def refused(self, why, times=1, **options):
        given = Settings()
        for name, text in options.items():
            given = given.with_text(f"net.{name}", text)
        for _ in range(times):
            self.itinerary.refused(why, given)
        return self

    @property
    def now(self):
        return self.itinerary.route()


@pytest.mark.requirement("16.SEC.4")
def test_the_other_password_is_tried_after_three_refusals_and_so_on_in_turn():
    ways = Ways(profiles=(1,), passwords=(b"new", b"old"))

    tried = []
    for _ in range(9):
        tried.append(ways.now.password)
        ways.refused(Why.PASSWORD)

    assert tried == [b"new"] * 3 + [b"old"] * 3 + [b"new"] * 3


@pytest.mark.requirement("16.SEC.4")
@pytest.mark.parametrize(("option", "after"), [("1", 1), ("5", 5), ("0", None)])
def test_how_many_refusals_it_takes_is_an_option(option, after):
    ways = Ways(profiles=(1,), passwords=(b"new", b"old"))

    for _ in range(after or 50):
        assert ways.now.password == b"new"
        ways.refused(Why.PASSWORD, password_fallback=option)

    assert ways.now.password == (b"new" if after is None else b"old")


@pytest.mark.requirement("16.SEC.4")
@pytest.mark.parametrize("why", [one for one in Why if one is not Why.PASSWORD])
def test_only_a_refused_password_leads_to_the_other_one(why):
    assert Ways(profiles=(1,), passwords=(b"new", b"old")).refused(
        why, 20).now.password == b"new"


@pytest.mark.requirement("16.SEC.5")
@pytest.mark.parametrize("why", list(Why))
def test_three_failures_of_any_kind_lead_back_to_the_profile_before(why):
    ways = Ways(profiles=(2, 1), passwords=(b"key",))

    assert ways.now.security_profile == 2
    assert ways.refused(why, 2).now.security_profile == 2
    assert ways.refused(why).now.security_profile == 1
    assert ways.refused(why, 3).now.security_profile == 2


@pytest.mark.requirement("16.SEC.13")
def test_a_certificate_that_does_not_hold_leads_to_the_roots_before():
    ways = Ways(profiles=(2,), trust=(("new.pem",), ("old.pem",)))

    assert ways.now.tls.trust == ("new.pem",)
    assert ways.refused(Why.NETWORK, 9).now.tls.trust == ("new.pem",)
    assert ways.refused(Why.THEIR_CERTIFICATE).now.tls.trust == ("old.pem",)
    assert ways.refused(Why.THEIR_DATES).now.tls.trust == ("new.pem",)


@pytest.mark.requirement("16.SEC.10")
def test_a_certificate_of_ours_that_is_refused_leads_to_the_one_before():
    ways = Ways(profiles=(3,), certificates=(("new", "k2"), ("old", "k1")))

    assert ways.now.tls.client_cert_file == "new"
    assert ways.refused(Why.PASSWORD, 9).now.tls.client_cert_file == "new"
    assert ways.refused(Why.OUR_CERTIFICATE).now.tls.client_cert_file == "old"


@pytest.mark.requirement("16.SEC.10")
@pytest.mark.parametrize("profile", [0, 1, 2])
def test_only_profile_3_shows_a_certificate_of_ours(profile):
    assert Ways(profiles=(profile,),
                certificates=(("c", "k"),)).now.tls.client_cert_file is None


@pytest.mark.parametrize(("url", "url_tls", "profile", "used"), [
    ("ws://h:80/p", "", 1, "ws://h:80/p"), ("ws://h:80/p", "", 2, "wss://h:80/p"),
    ("ws://h/p", "", 3, "wss://h/p"), ("ws://h/p", "wss://t:8443/q", 1, "ws://h/p"),
    ("ws://h/p", "wss://t:8443/q", 2, "wss://t:8443/q"),
    ("wss://h/p", "wss://t:8443/q", 2, "wss://h/p"), ("wss://h/p", "", 0, "wss://h/p")])
@pytest.mark.requirement("16.SEC.5")
def test_profiles_with_tls_take_the_address_with_tls(url, url_tls, profile, used):
    choices = Choices(url, "CP", url_tls, profiles=(profile,))

    assert Itinerary(lambda: choices).route().url == used


@pytest.mark.requirement("16.SEC.4", "16.SEC.5")
def test_what_proved_itself_is_told_only_where_there_was_a_choice():
    assert Ways(profiles=(2,), passwords=(b"key",)).itinerary.proved() is None
    upgraded = Ways(profiles=(2, 1), passwords=(b"key",))
    assert upgraded.itinerary.proved() == AccessProved(2, other_password=False)
    assert upgraded.refused(Why.TLS, 3).itinerary.proved() == AccessProved(
        1, other_password=False)
    changed = Ways(profiles=(1,), passwords=(b"new", b"old")).refused(Why.PASSWORD, 3)
    assert changed.itinerary.proved() == AccessProved(1, other_password=True)
    certified = Ways(profiles=(3, 2), passwords=(b"new", b"old"))
    assert certified.itinerary.proved() == AccessProved(3, other_password=None)


@pytest.mark.requirement("16.SEC.4")
def test_once_it_is_proved_what_is_wanted_comes_first_again():
    ways = Ways(profiles=(1,), passwords=(b"new", b"old")).refused(Why.PASSWORD, 3)

    ways.itinerary.proved()

    assert ways.now.password == b"new"
