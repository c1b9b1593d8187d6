"""The registry of vendors: what is installed is found, what cannot be loaded is left out."""

import logging
from pathlib import Path

import pytest

from cpctl.core.effects import Query
from cpctl.core.events import Event, VendorMessageReceived
from cpctl.core.values import Origin, Outcome, Reply, RequestId
from cpctl.runtime.vendors import Vendors, installed

requirement = pytest.mark.requirement


def distribution(folder: Path, name: str, text: str) -> None:
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir()
    (place / "entry_points.txt").write_text(text)


@requirement("16.DT.2")
def test_entry_points_of_the_group_are_found_and_no_others(tmp_path: Path) -> None:
    distribution(tmp_path, "price", "[console_scripts]\nprice = price:main\n\n"
                 "[cpctl.vendors]\n# ours\norg.price = price.cpctl:Price\n"
                 "org.other=other:make\n[cpctl.hal]\nmeter.x = x:y\n")
    distribution(tmp_path, "plain", "[console_scripts]\nplain = plain:main\n")

    assert list(installed([str(tmp_path), str(tmp_path / "missing")])) == [
        ("org.price", "price.cpctl:Price"), ("org.other", "other:make")]


def test_a_distribution_that_cannot_be_read_is_passed_over(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    distribution(tmp_path, "broken", "")
    (tmp_path / "broken-1.0.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[cpctl.vendors]")

    assert list(installed([str(tmp_path)])) == []
    assert "cannot be read" in caplog.text


@requirement("16.DT.2")
def test_a_vendor_that_cannot_be_loaded_is_left_out_and_the_next_one_works(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "vendor_of_a_test.py").write_text(
        "class Made:\n    def __init__(self, line):\n        self.messages = {}\n")
    distribution(tmp_path, "v", "[cpctl.vendors]\norg.gone = no_such_module_at_all:X\n"
                 "org.nothing = vendor_of_a_test:Nothing\norg.good = vendor_of_a_test:Made\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    answers: list[Reply] = []

    async def nobody(query: Query) -> tuple[Event, ...]:
        return ()

    vendors = Vendors(ask=nobody, answer=lambda request, reply: answers.append(reply),
                      spawn=lambda coroutine, name: None)
    with caplog.at_level(logging.ERROR):
        vendors.start()
    for vendor in ("org.good", "org.gone"):
        vendors.received(VendorMessageReceived(RequestId(Origin.CSMS, 1), vendor, "M", None))

    assert vendors.names == ("org.good",)
    assert "org.gone" in caplog.text and "org.nothing" in caplog.text
    assert [one.outcome for one in answers] == [Outcome.UNKNOWN_MESSAGE, Outcome.UNKNOWN]
