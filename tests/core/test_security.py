"""Password, profile and security events as the core decides them."""

import pytest
from support.core_world import World

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core import security
from cpctl.core.underway import Secret
from cpctl.core.values import BootCause, EvseLayout, Origin, Outcome, RequestId

KEY = "0123456789abcdef0123456789ABCDEF"
OTHER = "ffffffffffffffffffffffffffffffffffffffff"
ALL = ev.CredentialsChanged(password=True, csms_root=True, certificate=True)
CHANGED = "ReconfigurationOfSecurityParameters"


def station(*, profile=0, password="", credentials=ALL, kept=None, **settings):
    made = World(EvseLayout(1, inputs=("door",)), kept=kept, settings={
        "link.security_profile": profile, "link.password": password, **settings})
    made.boot()
    made.tell(credentials)
    made.log.clear()
    made.facts.clear()
    return made


def change(world, setting, text, origin=Origin.CSMS):
    return world.ask(ev.SettingChangeRequested, origin, setting=setting, text=text).outcome


def kinds(world):
    return [one.kind for one in world.told(fa.SecurityEventRaised)]


def reconnects(world):
    return sum(isinstance(one, ef.Reconnect) for one in world.log)


# --- the password --------------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.1", "16.SEC.2", "key:AuthorizationKey")
@pytest.mark.parametrize(("text", "auto", "only_hex", "only_text"), [
    (KEY, bytes.fromhex(KEY), bytes.fromhex(KEY), KEY.encode()),
    (OTHER, b"\xff" * 20, b"\xff" * 20, OTHER.encode()),
    ("0" * 33, b"0" * 33, None, b"0" * 33),  # half a byte is none
    ("0" * 30, b"0" * 30, None, b"0" * 30),  # 15 bytes would be too few
    ("correct horse battery", b"correct horse battery", None, b"correct horse battery"),
    ("0123456789 abcde", b"0123456789 abcde", None, b"0123456789 abcde"),
    ("ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ", "Ä".encode() * 16, None, "Ä".encode() * 16),
    ("fifteen letters", None, None, None), ("x" * 41, None, None, None), ("", None, None, None)])
def test_what_a_password_is_sent_as(text, auto, only_hex, only_text):
    assert security.password_bytes(text, "auto") == auto
    assert security.password_bytes(text, "hex") == only_hex
    assert security.password_bytes(text, "text") == only_text


@pytest.mark.requirement("16.SEC.3", "key:AuthorizationKey", "ChangeConfiguration.conf:Accepted")
@pytest.mark.parametrize(("profile", "times"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_a_new_password_is_kept_and_used_at_once_where_passwords_are_used(profile, times):
    world = station(profile=profile, password=KEY)

    assert change(world, "link.password", OTHER) is Outcome.ACCEPTED

    assert world.saved_settings == {"link.password": OTHER}
    assert world.kept[security.KEPT_PASSWORD] == KEY
    assert kinds(world) == [CHANGED]
    assert reconnects(world) == times


@pytest.mark.requirement("16.SEC.3", "key:AuthorizationKey", "ChangeConfiguration.conf:Rejected")
@pytest.mark.parametrize("text", ["", "short", "fifteen letters", "x" * 41, "é" * 41])
def test_a_password_of_a_wrong_length_changes_nothing(text):
    world = station(profile=1, password=KEY)

    assert change(world, "link.password", text) is Outcome.REJECTED

    assert world.saved_settings == {}
    assert kinds(world) == []
    assert reconnects(world) == 0


@pytest.mark.requirement("16.SEC.2", "key:AuthorizationKey")
@pytest.mark.parametrize(("encoding", "outcome"), [
    ("auto", Outcome.ACCEPTED), ("text", Outcome.ACCEPTED), ("hex", Outcome.REJECTED)])
def test_whether_text_is_taken_is_an_option(encoding, outcome):
    world = station(profile=1, **{"compat.authkey_encoding": encoding})

    assert change(world, "link.password", "correct horse battery") is outcome


@pytest.mark.requirement("16.SEC.3")
def test_no_record_of_what_is_done_shows_a_password():
    world = station(profile=1, password=KEY)
    wanted = ev.SettingChangeRequested(RequestId(Origin.CSMS, 77), "link.password", OTHER)
    world.answers[wanted.request] = []

    world.tell(wanted)

    shown = repr((world.log, world.facts, world.station, wanted))
    assert OTHER not in shown
    assert KEY not in shown


@pytest.mark.requirement("16.SEC.4")
def test_a_new_password_that_proves_itself_lets_the_old_one_be_forgotten():
    world = station(profile=1, password=KEY)
    change(world, "link.password", OTHER)

    world.tell(ev.AccessProved(1, other_password=False))

    assert security.KEPT_PASSWORD not in world.kept
    assert world.settings.text("link.password") == OTHER


@pytest.mark.requirement("16.SEC.4")
def test_an_old_password_that_is_still_taken_holds_again_and_the_new_one_waits():
    world = station(profile=1, password=KEY)
    change(world, "link.password", OTHER)

    world.tell(ev.AccessProved(1, other_password=True))

    assert world.settings.text("link.password") == KEY
    assert world.kept[security.KEPT_PASSWORD] == OTHER
    assert kinds(world) == [CHANGED, CHANGED]


@pytest.mark.requirement("16.SEC.4")
def test_the_new_password_waits_until_the_central_system_knows_it():
    world = station(profile=1, password=KEY)
    change(world, "link.password", OTHER)
    world.tell(ev.AccessProved(1, other_password=True))

    world.tell(ev.AccessProved(1, other_password=False))
    assert world.kept[security.KEPT_PASSWORD] == OTHER
    world.tell(ev.AccessProved(1, other_password=True))

    assert world.settings.text("link.password") == OTHER
    assert not {security.KEPT_PASSWORD, security.KEPT_NEWER} & set(world.kept)


@pytest.mark.requirement("16.SEC.4")
def test_a_change_while_a_new_password_waits_keeps_the_one_that_is_taken():
    world = station(profile=1, password=KEY)
    change(world, "link.password", OTHER)
    world.tell(ev.AccessProved(1, other_password=True))

    change(world, "link.password", "a third password")

    assert world.kept[security.KEPT_PASSWORD] == KEY
    assert security.KEPT_NEWER not in world.kept


@pytest.mark.requirement("16.SEC.4")
def test_a_connection_without_a_password_proves_none():
    world = station(profile=3, password=KEY)
    change(world, "link.password", OTHER)

    world.tell(ev.AccessProved(3, other_password=None))

    assert world.kept[security.KEPT_PASSWORD] == KEY


@pytest.mark.requirement("16.SEC.4")
def test_of_two_changes_in_a_row_the_password_that_worked_stays():
    world = station(profile=1, password=KEY)
    change(world, "link.password", OTHER, Origin.LOCAL)
    change(world, "link.password", "a third password", Origin.LOCAL)

    assert world.kept[security.KEPT_PASSWORD] == KEY


@pytest.mark.requirement("16.SEC.4", "16.SEC.5")
def test_what_has_not_proved_itself_is_known_after_a_restart():
    world = station(kept={security.KEPT_PASSWORD: KEY, security.KEPT_PROFILE: "1"})

    assert world.station.access.other_profile == 1
    assert world.station.access.other_password == Secret(KEY)


# --- the profile ---------------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile", "ChangeConfiguration.conf:Rejected")
@pytest.mark.parametrize(("present", "wanted"), [
    (present, wanted) for present in range(4) for wanted in range(present + 1)])
def test_over_ocpp_a_profile_is_only_raised(present, wanted):
    world = station(profile=present, password=KEY)

    assert change(world, "link.security_profile", str(wanted)) is Outcome.REJECTED
    assert reconnects(world) == 0


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile", "ChangeConfiguration.conf:Accepted")
@pytest.mark.parametrize(("present", "wanted"), [
    (present, wanted) for present in range(4) for wanted in range(present + 1, 4)])
def test_a_higher_profile_is_kept_and_used_at_once(present, wanted):
    world = station(profile=present, password=KEY)

    assert change(world, "link.security_profile", str(wanted)) is Outcome.ACCEPTED

    assert world.settings.integer("link.security_profile") == wanted
    assert world.kept[security.KEPT_PROFILE] == str(present)
    assert kinds(world) == [CHANGED]
    assert reconnects(world) == 1


NEEDS = {1: ("password",), 2: ("password", "csms_root"), 3: ("csms_root", "certificate")}


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile")
@pytest.mark.parametrize("wanted", NEEDS)
@pytest.mark.parametrize("missing", ["password", "csms_root", "certificate"])
def test_a_profile_is_taken_only_with_all_that_it_needs(wanted, missing):
    there = {name: name != missing for name in ("password", "csms_root", "certificate")}
    world = station(credentials=ev.CredentialsChanged(**there))

    outcome = change(world, "link.security_profile", str(wanted))

    assert (outcome is Outcome.REJECTED) == (missing in NEEDS[wanted])


@pytest.mark.requirement("16.SEC.5")
def test_a_password_that_was_set_over_ocpp_is_one():
    there = ev.CredentialsChanged(password=False, csms_root=False, certificate=False)
    world = station(credentials=there)
    assert change(world, "link.security_profile", "1") is Outcome.REJECTED

    change(world, "link.password", KEY)

    assert change(world, "link.security_profile", "1") is Outcome.ACCEPTED


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile")
@pytest.mark.parametrize("text", ["4", "-1", "two", "", "1.0"])
def test_what_is_no_profile_is_refused(text):
    assert change(station(password=KEY), "link.security_profile", text) is Outcome.REJECTED


@pytest.mark.requirement("16.SEC.5")
def test_a_technician_may_lower_a_profile():
    world = station(profile=2, password=KEY)

    assert change(world, "link.security_profile", "1", Origin.LOCAL) is Outcome.ACCEPTED
    assert change(world, "link.security_profile", "1", Origin.LOCAL) is Outcome.ACCEPTED

    assert world.settings.integer("link.security_profile") == 1
    assert reconnects(world) == 1


@pytest.mark.requirement("16.SEC.5")
@pytest.mark.parametrize(("proved", "holds"), [(2, 2), (1, 1)])
def test_the_profile_that_leads_to_the_central_system_is_the_one_that_holds(proved, holds):
    world = station(profile=1, password=KEY)
    change(world, "link.security_profile", "2")

    world.tell(ev.AccessProved(proved, other_password=False))

    assert world.settings.integer("link.security_profile") == holds
    assert security.KEPT_PROFILE not in world.kept
    assert kinds(world) == [CHANGED] * (1 if proved == 2 else 2)


# --- events --------------------------------------------------------------------------------------


def started(cause, **kept):
    world = World(kept=kept)
    world.boot(cause)
    return kinds(world)


@pytest.mark.requirement("16.SEC.22")
@pytest.mark.parametrize("cause", list(BootCause))
def test_every_start_is_an_event(cause):
    assert started(cause) == ["StartupOfTheDevice"]


@pytest.mark.requirement("16.SEC.22")
@pytest.mark.parametrize("reason", ["SoftReset", "HardReset", "Reboot"])
def test_a_start_after_a_reset_is_one_more(reason):
    assert started(BootCause.PLANNED, planned=reason) == ["StartupOfTheDevice", "ResetOrReboot"]


@pytest.mark.requirement("16.SEC.16")
@pytest.mark.parametrize(("step_s", "told"), [
    (20.0, []), (-20.0, []), (20.1, ["SettingSystemTime"]), (-3600.0, ["SettingSystemTime"])])
def test_a_step_of_the_clock_is_an_event_from_twenty_seconds_on(step_s, told):
    world = station()

    world.tell(ev.ClockStepped(step_s))

    assert kinds(world) == told


@pytest.mark.requirement("16.SEC.16")
@pytest.mark.parametrize("evse", [1, None])
def test_an_opened_door_is_tampering_once_for_each_opening(evse):
    world = station()

    for good in (True, False, False, True, False):
        world.tell(ev.InputChanged(evse, "door", good))
    world.tell(ev.InputChanged(evse, "rcd", False))

    assert kinds(world) == ["TamperDetectionActivated"] * 2


@pytest.mark.requirement("16.SEC.16")
def test_damaged_books_lose_lines_of_the_security_log():
    world = World()
    world.tell(ev.Booted(BootCause.CRASH, 1, journal_good=False, journal_detail="set aside"))

    assert kinds(world) == ["JournalDamaged", "SecurityLogWasCleared", "StartupOfTheDevice"]


@pytest.mark.requirement("16.SEC.16")
def test_what_an_event_weighs_is_in_the_list_and_its_text_is_cut():
    world = station()

    for kind in sorted(security.CRITICAL | security.TESTED | security.OTHERS):
        world.tell(ev.SecurityEventNoticed(kind, "x" * 300))

    raised = world.told(fa.SecurityEventRaised)
    assert {one.kind for one in raised if one.critical} == security.CRITICAL
    assert {len(one.text) for one in raised} == {255}


@pytest.mark.requirement("16.SEC.16")
@pytest.mark.parametrize(("notify", "told"), [
    ("critical", security.CRITICAL), ("tested", security.CRITICAL | security.TESTED),
    ("all", security.CRITICAL | security.TESTED | security.OTHERS)])
def test_which_events_are_told_is_an_option(notify, told):
    every = security.CRITICAL | security.TESTED | security.OTHERS | {"JournalDamaged"}

    assert {kind for kind in every if security.is_told(kind, notify)} == told
