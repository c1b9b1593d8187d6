"""Dataclasses that are made at their first use are the same as those of the standard library."""

import dataclasses
import threading
from dataclasses import field, fields, is_dataclass, replace

import pytest

from hal.late import dataclass


def made(cls: type) -> bool:
    return "__eq__" in vars(cls)


def some() -> tuple[type, type]:
    @dataclass(frozen=True)
    class Base:
        at: int

    @dataclass(frozen=True)
    class Heir(Base):
        """A sentence."""

        name: str = "x"
        more: tuple[int, ...] = ()
        notes: dict = field(default_factory=dict, compare=False)

    return Base, Heir


def test_nothing_is_made_before_the_first_object() -> None:
    base, heir = some()

    assert not made(base)
    assert not made(heir)
    heir(1)
    assert made(base)
    assert made(heir)


def test_an_object_is_as_that_of_a_dataclass() -> None:
    _, heir = some()

    one = heir(1, "y", more=(2,))

    assert one == heir(1, "y", (2,))
    assert one != heir(2, "y", (2,))
    assert hash(one) == hash(heir(1, "y", (2,)))
    assert repr(one).endswith("Heir(at=1, name='y', more=(2,), notes={})")
    assert replace(one, at=5).at == 5
    assert heir.__match_args__ == ("at", "name", "more", "notes")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.at = 3
    with pytest.raises(TypeError):
        heir()
    with pytest.raises(TypeError):
        heir(1, nonsense=2)


def test_who_asks_for_the_fields_gets_them() -> None:
    base, heir = some()

    assert [one.name for one in fields(heir)] == ["at", "name", "more", "notes"]
    assert [one.name for one in fields(base)] == ["at"]
    assert is_dataclass(heir)


def test_a_class_matches_by_position_once_there_is_an_object() -> None:
    base, heir = some()

    match heir(7):
        case base(at):
            found = at

    assert found == 7


def test_a_plain_heir_of_an_unmade_class_works() -> None:
    base, _ = some()

    class Plain(base):
        pass

    assert Plain(3).at == 3
    assert Plain(3) == Plain(3)


def test_an_heir_with_an_init_of_its_own_may_come_first() -> None:
    base, _ = some()

    class Own(base):
        def __init__(self) -> None:
            super().__init__(4)

    assert Own().at == 4


def test_a_changeable_class_and_what_follows_the_init() -> None:
    @dataclass
    class Counter:
        n: int = 0

        def __post_init__(self) -> None:
            self.n += 1

    one = Counter(4)
    one.n += 1

    assert one == Counter(5)
    assert Counter.__hash__ is None


def test_slots_are_made_at_once() -> None:
    @dataclass(frozen=True, slots=True)
    class Slim:
        a: int

    assert Slim.__slots__ == ("a",)
    assert not hasattr(Slim(1), "__dict__")


def test_threads_that_come_together_all_get_their_object() -> None:
    for _ in range(20):
        _, heir = some()
        start, got = threading.Barrier(8), []

        def build(heir: type = heir, start: threading.Barrier = start, got: list = got) -> None:
            start.wait()
            got.append(heir(1, "z"))

        threads = [threading.Thread(target=build) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert got == [heir(1, "z")] * 8
