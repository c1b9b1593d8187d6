"""1 000 hours of random sites: never more than the station may, nobody starves, nothing is idle.

What is asserted is seen from the world: what boards show, which contacts are closed, what the cars
may draw and draw. The worlds run in virtual time; the seed of a failure is in its message.
"""

import random

import pytest
from support.site import Site, SiteCar

from cpctl.core.values import EvseLayout, StationLayout

SITES, HOURS = 50, 20
ROTATION_NAMES = ("RST", "RTS", "SRT", "STR", "TRS", "TSR")


def random_site(chance: random.Random) -> Site:
    number = chance.randint(2, 6)
    phases = chance.choice((1, 3, 3))
    evses = tuple(EvseLayout(one, max_current_a=chance.choice((16, 32, 32)), phases=phases)
                  for one in range(1, number + 1))
    layout = StationLayout(evses, station_max_current_a=chance.choice((10, 16, 25, 32, 40, 63)),
                           meter_silence_s=1e9)
    told = {one.id: chance.choice(ROTATION_NAMES) for one in evses} if chance.random() < 0.5 else {}
    return Site(chance, layout, told, **{
        "smart.share": chance.choice(("equal", "fifo", "weighted")),
        "smart.rotation_s": chance.choice((300, 900))})


def random_car(chance: random.Random, phases: int) -> SiteCar:
    most = chance.choice((10, 16, 20, 32))
    return SiteCar(most, most, chance.choice((1, phases)), chance.choice((0.2, 2.0, 4.9)))


def happen(site: Site, chance: random.Random) -> None:
    """Something happens somewhere."""
    post = chance.choice(list(site.posts.values()))
    what = chance.random()
    if post.car is None and what < 0.8:
        site.plug(post.evse, random_car(chance, site.layout.evses[0].phases))
    elif post.car is not None and what < 0.3:
        site.unplug(post.evse)
    elif post.car is not None and what < 0.6:
        site.want(post.evse, chance.choice((0.0, 6.0, 9.0, 13.0, post.car.most_a)))
    elif what < 0.75:
        site.limit(chance.choice((0, 5, 6, 8, 12, 13.7, 20, 27, 40, 100)))
    elif what < 0.92:
        (site.heal if post.silent else site.hush)(post.evse)
    else:
        site.restart()


def live(site: Site, chance: random.Random, hours: float) -> None:
    end = site.now_s + hours * 3600
    while site.now_s < end:
        happen(site, chance)
        if chance.random() < 0.3:  # two things at once
            site.advance(chance.choice((0.1, 2.0, 5.5)))
            happen(site, chance)
        for _ in range(2):
            site.advance(20)
            site.read_all()
        if chance.random() < 0.12:
            rest(site)
            assert site.unused_a() <= 1.0, f"{site.now_s:.0f} s: {site.unused_a():.1f} A unused"
        site.advance(chance.uniform(100, 3200))
        assert not site.broken, site.broken[0]


def rest(site: Site) -> None:
    """Long enough for every car to show what it takes, and for the others to be raised."""
    for _ in range(6):
        site.advance(20)
        site.read_all()
    site.advance(10)


@pytest.mark.requirement("16.SC.16", "16.SC.12", "16.SC.5")
def test_a_thousand_hours_of_sites_never_draw_more_than_they_may_and_starve_nobody() -> None:
    suspensions = sessions = 0
    for seed in range(SITES):
        chance = random.Random(seed)
        site = random_site(chance)
        try:
            live(site, chance, HOURS)
            turns = len(site.posts) * (site.settings.integer("smart.rotation_s") + 60) + 60
            assert site.longest_wait_s <= turns, f"a car waited {site.longest_wait_s:.0f} s"
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
        suspensions += site.suspensions
        sessions += site.sessions
    assert sessions > SITES * HOURS / 4
    assert suspensions > SITES
