"""The decision on a token, over every row of the specification's table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cpctl.core.authorize import AskCsms, Verdict, decide
from cpctl.core.now import Now, TimeQuality
from cpctl.core.settings import Settings, Value
from cpctl.core.values import IdToken, TokenInfo, TokenSource, TokenStatus

requirement = pytest.mark.requirement
NOW = Now(0, "boot", datetime(2026, 3, 1, 10, tzinfo=UTC), TimeQuality.NTP)
TOKEN = IdToken("04A1")
GOOD = TokenInfo(TokenStatus.ACCEPTED)
BLOCKED = TokenInfo(TokenStatus.BLOCKED)
PAST = TokenInfo(TokenStatus.ACCEPTED, expires=NOW.utc)
FUTURE = TokenInfo(TokenStatus.ACCEPTED, expires=NOW.utc + timedelta(seconds=1))
GROUPED = TokenInfo(TokenStatus.ACCEPTED, IdToken("FLEET"))
CONCURRENT = TokenInfo(TokenStatus.CONCURRENT_TX)
ASK = "ask"


def said(*, listed: TokenInfo | None = None, cached: TokenInfo | None = None, online: bool = True,
         for_group: bool = False, in_vain: bool = False, **settings: Value) -> object:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    decision = decide(TOKEN, list_entry=listed, cache_entry=cached, online=online,
                      settings=Settings(named), now=NOW, for_group=for_group, in_vain=in_vain)
    return ASK if isinstance(decision, AskCsms) else decision.info.status


ACCEPTED, INVALID = TokenStatus.ACCEPTED, TokenStatus.INVALID


@requirement("16.AUTH.1", "16.CACHE.5")
@pytest.mark.parametrize("entry", [None, GOOD, BLOCKED, PAST])
def test_online_the_central_system_is_asked(entry: TokenInfo | None) -> None:
    assert said(listed=entry) == ASK
    assert said(cached=entry) == ASK


@requirement("key:LocalPreAuthorize", "16.AUTH.7", "16.LIST.6")
@pytest.mark.parametrize(("entry", "verdict"), [
    (GOOD, ACCEPTED), (FUTURE, ACCEPTED), (BLOCKED, ASK), (PAST, ASK), (CONCURRENT, ASK),
    (None, ASK)])
def test_pre_authorization_starts_at_once_for_a_good_entry_only(
        entry: TokenInfo | None, verdict: object) -> None:
    assert said(listed=entry, auth__local_pre=True) == verdict
    assert said(cached=entry, auth__local_pre=True) == verdict


@pytest.mark.parametrize(("entry", "verdict"), [
    (GOOD, ACCEPTED), (FUTURE, ACCEPTED), (BLOCKED, TokenStatus.BLOCKED),
    (CONCURRENT, TokenStatus.CONCURRENT_TX), (PAST, TokenStatus.EXPIRED), (None, INVALID)])
@requirement("16.AUTH.7", "16.CACHE.2", "16.LIST.6", "E-39")
def test_offline_a_good_entry_is_accepted_and_the_unknown_refused(
        entry: TokenInfo | None, verdict: object) -> None:
    assert said(listed=entry, online=False) == verdict
    assert said(cached=entry, online=False) == verdict


@requirement("key:LocalAuthorizeOffline")
def test_offline_by_setting_not_even_a_good_entry_is_accepted() -> None:
    assert said(listed=GOOD, online=False, auth__local_offline=False) == INVALID
    assert said(cached=GOOD, online=False, auth__local_offline=False) == INVALID


@requirement("E-39", "key:AllowOfflineTxForUnknownId")
@pytest.mark.parametrize(("entry", "verdict"), [
    (None, ACCEPTED), (BLOCKED, TokenStatus.BLOCKED), (PAST, TokenStatus.EXPIRED)])
def test_offline_by_setting_the_unknown_are_accepted_but_not_the_known_bad(
        entry: TokenInfo | None, verdict: object) -> None:
    assert said(listed=entry, online=False, auth__offline_unknown=True) == verdict
    assert said(cached=entry, online=False, auth__offline_unknown=True) == verdict


def test_the_list_outranks_the_cache() -> None:
    assert said(listed=BLOCKED, cached=GOOD, online=False) == TokenStatus.BLOCKED
    assert said(listed=GOOD, cached=BLOCKED, online=False) == ACCEPTED


@requirement("key:AuthorizationCacheEnabled")
def test_a_cache_that_is_off_says_nothing() -> None:
    assert said(cached=GOOD, online=False, auth__cache_enabled=False) == INVALID


@requirement("E-03")
@pytest.mark.parametrize(("entry", "policy", "verdict"), [
    (None, "offline_rules", INVALID), (GOOD, "offline_rules", ACCEPTED),
    (None, "reject", INVALID), (GOOD, "reject", INVALID)])
def test_asked_in_vain_the_policy_decides(entry: TokenInfo | None, policy: str,
                                          verdict: object) -> None:
    assert said(cached=entry, in_vain=True, policy__authorize_timeout=policy) == verdict


@requirement("E-03")
def test_the_link_lost_while_asking_is_offline_whatever_the_policy() -> None:
    assert said(cached=GOOD, online=False, in_vain=True,
                policy__authorize_timeout="reject") == ACCEPTED


@requirement("16.AUTH.3")
@pytest.mark.parametrize(("entry", "online", "verdict"), [
    (GROUPED, True, ACCEPTED), (GOOD, True, ASK), (BLOCKED, True, ASK), (None, True, ASK),
    (GROUPED, False, ACCEPTED), (GOOD, False, ACCEPTED), (None, False, INVALID)])
def test_for_a_group_list_and_cache_may_answer_if_they_know_one(
        entry: TokenInfo | None, online: bool, verdict: object) -> None:
    assert said(cached=entry, online=online, for_group=True) == verdict
    assert said(listed=entry, online=online, for_group=True, auth__local_pre=True) == verdict


def test_the_unknown_have_no_group_offline() -> None:
    assert said(online=False, for_group=True, auth__offline_unknown=True) == INVALID


@pytest.mark.parametrize(("listed", "cached", "source"), [
    (GOOD, GOOD, TokenSource.LOCAL_LIST), (None, GOOD, TokenSource.CACHE),
    (None, None, TokenSource.OFFLINE_RULES)])
def test_the_verdict_names_its_source(listed: TokenInfo | None, cached: TokenInfo | None,
                                      source: TokenSource) -> None:
    decision = decide(TOKEN, list_entry=listed, cache_entry=cached, online=False,
                      settings=Settings(), now=NOW)

    assert isinstance(decision, Verdict)
    assert decision.source is source
    assert decision.granted is (source is not TokenSource.OFFLINE_RULES)


def test_an_expired_entry_keeps_its_group() -> None:
    group = IdToken("G")

    decision = decide(TOKEN, list_entry=replace(PAST, group=group), cache_entry=None,
                      online=False, settings=Settings(), now=NOW)

    assert isinstance(decision, Verdict) and decision.info.group == group
