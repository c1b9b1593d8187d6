"""The certificate messages on the wire, byte for byte, judged by the schemas of `ocpp`."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.dialect_world import World

from cpctl.core.effects import SignCertificate
from cpctl.core.events import (
    CertificateDeleteRequested,
    CertificateInstallRequested,
    CertificateSignedRequested,
    CertificateSigningAnswered,
    CertificatesRequested,
    Request,
)
from cpctl.core.jobs import CertificateHash, Certificates, CertificateUse
from cpctl.core.values import Origin, Outcome, Reply, RequestId
from cpctl.dialects.base import Call, CallError, Disconnected, Result, TimedOut
from cpctl.dialects.v16.dialect import Dialect16

DIALECT = Dialect16()
FIRST = RequestId(Origin.CSMS, 1)
HASH = CertificateHash("SHA256", "0a" * 32, "fb" * 32, "fff")
CSMS, MAKER = CertificateUse.CSMS_ROOT, CertificateUse.MANUFACTURER_ROOT
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
HASH_DATA = {"hashAlgorithm": "SHA256", "issuerNameHash": "0A" * 32, "issuerKeyHash": "fb" * 32,
             "serialNumber": "0FFF"}


def schema(name: str) -> dict[str, Any]:
    spec = find_spec("ocpp")
    assert spec is not None and spec.origin is not None
    text = (Path(spec.origin).parent / "v16" / "schemas" / f"{name}.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("action", "wire", "request_"), [
    pytest.param("CertificateSigned", {"certificateChain": PEM},
                 CertificateSignedRequested(FIRST, PEM),
                 marks=pytest.mark.requirement("CertificateSigned.req")),
    pytest.param("InstallCertificate", {"certificateType": "CentralSystemRootCertificate",
                                        "certificate": PEM},
                 CertificateInstallRequested(FIRST, CSMS, PEM),
                 marks=pytest.mark.requirement("InstallCertificate.req")),
    pytest.param("InstallCertificate", {"certificateType": "ManufacturerRootCertificate",
                                        "certificate": PEM},
                 CertificateInstallRequested(FIRST, MAKER, PEM)),
    pytest.param("DeleteCertificate", {"certificateHashData": HASH_DATA},
                 CertificateDeleteRequested(FIRST, HASH),
                 marks=pytest.mark.requirement("DeleteCertificate.req")),
    pytest.param("GetInstalledCertificateIds", {"certificateType": "ManufacturerRootCertificate"},
                 CertificatesRequested(FIRST, (MAKER,)),
                 marks=pytest.mark.requirement("GetInstalledCertificateIds.req")),
])
def test_what_the_central_system_asks_for(
        action: str, wire: dict[str, Any], request_: Request) -> None:
    jsonschema.validate(wire, schema(action))
    assert DIALECT.check(action, wire, response=False, ours=False) is None

    assert DIALECT.request(Call(action, wire), World().context) == request_


@pytest.mark.parametrize("wire", [
    {"certificateType": "V2GRootCertificate", "certificate": PEM},
    {"certificateType": "CentralSystemRootCertificate", "certificate": "x" * 5501},
    {"certificateType": "CentralSystemRootCertificate"},
    {"certificateType": "CentralSystemRootCertificate", "certificate": 1},
])
def test_what_the_schema_does_not_allow_is_an_error(wire: dict[str, Any]) -> None:
    assert isinstance(DIALECT.check("InstallCertificate", wire, response=False, ours=False),
                      CallError)


FOUND = Certificates(((CSMS, HASH),))
CONFIRMATIONS = [
    ("CertificateSigned", Reply(Outcome.ACCEPTED), {"status": "Accepted"}),
    ("CertificateSigned", Reply(Outcome.REJECTED, "invalid_certificate"), {"status": "Rejected"}),
    ("CertificateSigned", Reply(Outcome.FAILED, "store"), {"status": "Rejected"}),
    ("InstallCertificate", Reply(Outcome.ACCEPTED), {"status": "Accepted"}),
    ("InstallCertificate", Reply(Outcome.REJECTED, "store_full"), {"status": "Rejected"}),
    ("InstallCertificate", Reply(Outcome.FAILED, "store"), {"status": "Failed"}),
    ("DeleteCertificate", Reply(Outcome.ACCEPTED), {"status": "Accepted"}),
    ("DeleteCertificate", Reply(Outcome.FAILED, "in_use"), {"status": "Failed"}),
    ("DeleteCertificate", Reply(Outcome.NOT_FOUND), {"status": "NotFound"}),
    ("DeleteCertificate", Reply(Outcome.REJECTED, "not_booted"), {"status": "Failed"}),
    ("GetInstalledCertificateIds", Reply(Outcome.NOT_FOUND, content=Certificates(())),
     {"status": "NotFound"}),
    ("GetInstalledCertificateIds", Reply(Outcome.FAILED, "store"), {"status": "NotFound"}),
    ("GetInstalledCertificateIds", Reply(Outcome.ACCEPTED, content=FOUND),
     {"status": "Accepted", "certificateHashData": [
         {"hashAlgorithm": "SHA256", "issuerNameHash": "0a" * 32, "issuerKeyHash": "fb" * 32,
          "serialNumber": "fff"}]}),
]


@pytest.mark.requirement(
    "CertificateSigned.conf:Accepted", "CertificateSigned.conf:Rejected",
    "InstallCertificate.conf:Accepted", "InstallCertificate.conf:Rejected",
    "InstallCertificate.conf:Failed", "DeleteCertificate.conf:Accepted",
    "DeleteCertificate.conf:Failed", "DeleteCertificate.conf:NotFound",
    "GetInstalledCertificateIds.conf:Accepted", "GetInstalledCertificateIds.conf:NotFound")
@pytest.mark.parametrize(("action", "reply", "wire"), CONFIRMATIONS)
def test_how_our_answers_read(action: str, reply: Reply, wire: dict[str, Any]) -> None:
    said = DIALECT.reply(Call(action, {}, "1"), reply, World().context)

    assert said == Result(wire)
    assert isinstance(said, Result)
    jsonschema.validate(said.payload, schema(f"{action}Response"))
    assert DIALECT.check(action, said.payload, response=True, ours=False) is None


@pytest.mark.requirement("SignCertificate.req", "A02.FR.03")
def test_our_request_for_a_certificate() -> None:
    ask = SignCertificate(3, "-----BEGIN CERTIFICATE REQUEST-----\n…")

    (call,) = DIALECT.calls(ask, World().context)

    assert call == Call("SignCertificate", {"csr": ask.csr})
    jsonschema.validate(call.payload, schema("SignCertificate"))


@pytest.mark.requirement("SignCertificate.conf:Accepted", "SignCertificate.conf:Rejected")
@pytest.mark.parametrize(("outcome", "events"), [
    (Result({"status": "Accepted"}), (CertificateSigningAnswered(3, accepted=True),)),
    (Result({"status": "Rejected"}), (CertificateSigningAnswered(3, accepted=False),)),
    (CallError("NotSupported"), (CertificateSigningAnswered(3, accepted=False),)),
    (TimedOut(), ()), (Disconnected(), ()),
])
def test_what_the_answer_to_it_means(outcome: Any, events: tuple[object, ...]) -> None:
    ask = SignCertificate(3, "csr")
    if isinstance(outcome, Result):
        jsonschema.validate(outcome.payload, schema("SignCertificateResponse"))

    assert DIALECT.events(ask, Call("SignCertificate", {"csr": "csr"}), outcome,
                          World().context) == events
