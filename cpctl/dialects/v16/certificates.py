"""The certificate messages of the security whitepaper.

Source: edition 3, chapters 5.1 to 5.4, 5.7, 5.8, 5.11, 5.12, 5.17, 5.18 and 6.1 to 6.12.
"""

from collections.abc import Mapping

from cpctl.core.effects import SignCertificate
from cpctl.core.events import (
    CertificateDeleteRequested,
    CertificateInstallRequested,
    CertificateSignedRequested,
    CertificateSigningAnswered,
    CertificatesRequested,
    Event,
    Request,
)
from cpctl.core.jobs import CertificateHash, Certificates, CertificateUse
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, RenderContext, Result, Wire
from cpctl.dialects.base import Outcome as CallOutcome
from cpctl.dialects.v16.answers import YES_OR_NO, Answer, Confirmation, Handler, Reading, Telling

# certificateType (6.4); what 1.6 has no word for is not told
USES: Mapping[str, CertificateUse] = {
    "CentralSystemRootCertificate": CertificateUse.CSMS_ROOT,
    "ManufacturerRootCertificate": CertificateUse.MANUFACTURER_ROOT,
}


def _certificate_signed(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return CertificateSignedRequested(ctx.new_request(), wire["certificateChain"])


def _install(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return CertificateInstallRequested(ctx.new_request(), USES[wire["certificateType"]],
                                       wire["certificate"])


def _delete(wire: Wire, ctx: RenderContext) -> Request | Answer:
    """6.1: the hashes and the serial number are compared without regard to case."""
    named = wire["certificateHashData"]
    return CertificateDeleteRequested(ctx.new_request(), CertificateHash(
        named["hashAlgorithm"], named["issuerNameHash"].lower(), named["issuerKeyHash"].lower(),
        named["serialNumber"].lower().lstrip("0") or "0"))


def _installed(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return CertificatesRequested(ctx.new_request(), (USES[wire["certificateType"]],))


def _told_installed(said: Reply, ctx: RenderContext) -> Answer:
    """M03.FR.02 to 04."""
    found = said.content.found if isinstance(said.content, Certificates) else ()
    if said.outcome is not Outcome.ACCEPTED or not found:
        return Result({"status": "NotFound"})
    return Result({"status": "Accepted", "certificateHashData": [
        {"hashAlgorithm": one.algorithm, "issuerNameHash": one.issuer_name,
         "issuerKeyHash": one.issuer_key, "serialNumber": one.serial}
        for _, one in found]})


def _sign(item: SignCertificate, ctx: RenderContext) -> tuple[Call, ...]:
    return (Call("SignCertificate", {"csr": item.csr}),)


def _signing_answered(item: SignCertificate, outcome: CallOutcome, ctx: RenderContext
                      ) -> tuple[Event, ...]:
    """Nothing when nobody heard it."""
    if isinstance(outcome, Result):
        accepted = outcome.payload["status"] == "Accepted"
        return (CertificateSigningAnswered(item.ask, accepted),)
    if isinstance(outcome, CallError):
        return (CertificateSigningAnswered(item.ask, accepted=False),)
    return ()


HANDLERS: Mapping[str, Handler] = {
    "CertificateSigned": _certificate_signed,
    "DeleteCertificate": _delete,
    "GetInstalledCertificateIds": _installed,
    "InstallCertificate": _install,
}
REPLIES: Mapping[str, Confirmation] = {
    "CertificateSigned": YES_OR_NO,
    "DeleteCertificate": ({Outcome.ACCEPTED: "Accepted", Outcome.NOT_FOUND: "NotFound"}, "Failed"),
    "GetInstalledCertificateIds": _told_installed,
    "InstallCertificate": ({Outcome.ACCEPTED: "Accepted", Outcome.REJECTED: "Rejected"}, "Failed"),
}
CALLS: Mapping[type, Telling] = {SignCertificate: _sign}
READINGS: Mapping[type, Reading] = {SignCertificate: _signing_answered}
