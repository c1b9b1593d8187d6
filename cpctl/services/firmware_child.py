"""Signatures of firmware, and its installation: run as `python -m cpctl.services.firmware_child`.

One order on standard input, one answer (see `child.py`). Kinds of failure: "certificate",
"revoked", "signature", "verification", "too_large", "disk_full", "disk".
Source: security whitepaper edition 3, 2.6.1 to 2.6.3, L01.FR.04, 12, 23 to 25; E-34.
"""

import base64
import binascii
import hashlib
import json
import os
import platform
import resource
import shutil
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import ExtendedKeyUsageOID

from cpctl import slots
from cpctl.services import release
from cpctl.services.certificate_child import (
    Cert,
    certificates_of,
    extension,
    must_be_strong,
    must_be_understood,
    must_issue,
    must_not_have_ended,
    named,
    signed_by,
)
from cpctl.services.child import ChildFailed, Told, serve

MEMORY_LIMIT = 1 << 30
CRL_LIMIT = 4 << 20  # bytes
CRL_WAIT_S = 8.0


# --- the signing certificate ---------------------------------------------------------------------


def check_certificate(order: Told) -> Told:
    """Whether the maker's root vouches for the signing certificate."""
    signer_of(order["certificate"], order)
    return {}


def signer_of(pem: str, order: Told) -> Cert:
    """The certificate, once it is known to be good. Raises ChildFailed("certificate", "revoked").

    It is signed by a root of the maker itself: there are no intermediate ones (L01, remark).
    """
    try:
        leaf = certificates_of(pem)[0]
        root = _root_of(leaf, _roots(order["roots"]))
        now = datetime.fromisoformat(order["utc"])
        for one in (leaf, root):
            must_be_strong(one)
            must_be_understood(one)
            must_not_have_ended(one, now)
        must_issue(root)
        if order["trusted"] and leaf.not_valid_before_utc > now:
            raise ChildFailed("certificate", f"{named(leaf)} is not valid yet")
        _must_sign_firmware(leaf)
    except ChildFailed as failed:
        raise ChildFailed("certificate", failed.detail) from failed
    if order.get("online"):
        _must_not_be_revoked(leaf, root)
    return leaf


def _roots(files: Sequence[str]) -> list[Cert]:
    found: list[Cert] = []
    for file in files:
        try:
            found += certificates_of(Path(file).read_text(errors="replace"), most=100)
        except OSError as error:
            raise ChildFailed("certificate", f"{file}: {error.strerror}") from error
    return found


def _root_of(leaf: Cert, roots: Sequence[Cert]) -> Cert:
    if not roots:
        raise ChildFailed("certificate", "no root certificate of the manufacturer is installed")
    for root in roots:
        if root != leaf and signed_by(leaf, root):
            return root
    raise ChildFailed("certificate", f"{named(leaf)} is not signed by a root of the manufacturer")


def _must_sign_firmware(leaf: Cert) -> None:
    """A00.FR.512: the usages that are named allow it."""
    usage = extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise ChildFailed("certificate", f"{named(leaf)} may not sign")
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if purposes is not None and not any(one in allowed for one in purposes):
        raise ChildFailed("certificate", f"{named(leaf)} is not for the signing of code")
    constraints = extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise ChildFailed("certificate", f"{named(leaf)} is that of an authority")


def _must_not_be_revoked(leaf: Cert, root: Cert) -> None:
    """The list of revocations that the certificate names, where it can be had and is the root's.

    One that cannot be had is no reason to refuse: the central system checks, too (A00.FR.706).
    """
    for url in _crl_urls(leaf):
        listed = _fetched_crl(url)
        if listed is None or not listed.is_signature_valid(root.public_key()):  # type: ignore[arg-type]
            continue
        if listed.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None:
            raise ChildFailed("revoked", f"{named(leaf)} is on the list of {url[:120]}")


def _crl_urls(leaf: Cert) -> list[str]:
    points = extension(leaf, x509.CRLDistributionPoints)
    return [name.value for point in points or () for name in point.full_name or ()
            if isinstance(name, x509.UniformResourceIdentifier)
            and name.value.startswith(("http://", "https://"))][:2]


def _fetched_crl(url: str) -> x509.CertificateRevocationList | None:
    import urllib3

    try:
        with urllib3.PoolManager(retries=False).request(
                "GET", url, timeout=urllib3.Timeout(total=CRL_WAIT_S), preload_content=False,
                redirect=False) as answer:
            content = answer.read(CRL_LIMIT)
        if answer.status != 200:
            return None
        read = x509.load_pem_x509_crl if content.startswith(b"-----") else x509.load_der_x509_crl
        return read(content)
    except (urllib3.exceptions.HTTPError, ValueError, UnsupportedAlgorithm):
        return None


# --- signatures ----------------------------------------------------------------------------------


def verify(order: Told) -> Told:
    """The file is what was signed: by the order's own signature, or by the one inside it."""
    file = Path(order["file"])
    if order["signed"]:
        _verify_whole(file, order)
        return {}
    head = release.head_of(file)
    if order["unsigned_bundles"] and not head.signature:
        return {"version": head.manifest.version}
    if not head.signature:
        raise ChildFailed("signature", "neither the order nor the release is signed")
    leaf = signer_of(head.signer, order)
    _must_match(leaf, head.signature, hashlib.sha256(head.manifest.text).digest(),
                order["algorithms"])
    return {"version": head.manifest.version}


def _verify_whole(file: Path, order: Told) -> None:
    """L01.FR.04: over the entire file."""
    leaf = signer_of(order["certificate"], order)
    try:
        signature = base64.b64decode("".join(order["signature"].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ChildFailed("signature", "the signature is not base64") from error
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").digest()
    _must_match(leaf, signature, digest, order["algorithms"])


def _must_match(leaf: Cert, signature: bytes, digest: bytes, algorithms: Sequence[str]) -> None:
    """E-34: RSA-PSS, ECDSA, and where allowed RSA PKCS#1 v1.5; with SHA-256."""
    key, how = leaf.public_key(), Prehashed(hashes.SHA256())
    tries: list[Callable[[], None]] = []
    if isinstance(key, rsa.RSAPublicKey):
        if "rsa_pss" in algorithms:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            tries.append(lambda: key.verify(signature, digest, pss, how))
        if "rsa_pkcs1" in algorithms:
            tries.append(lambda: key.verify(signature, digest, padding.PKCS1v15(), how))
    elif isinstance(key, ec.EllipticCurvePublicKey) and "ecdsa" in algorithms:
        tries.append(lambda: key.verify(signature, digest, ec.ECDSA(how)))
    if not tries:
        raise ChildFailed("signature", "its kind of key is not allowed here "
                          "(security.firmware_algorithms)")
    for attempt in tries:
        try:
            attempt()
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            continue
        return
    raise ChildFailed("signature", "the signature does not fit the content")


# --- installation --------------------------------------------------------------------------------


def install(order: Told) -> Told:
    """Check once more, unpack, and point the next start to the new release.

    "same": it is the one that runs already, and nothing was done.
    """
    verify(order)
    file, root = Path(order["file"]), Path(order["root"])
    head = release.head_of(file)
    manifest = head.manifest
    release.must_fit(manifest, order["data"], platform.machine())
    running = order["running"]
    if manifest.version == running:
        if release.is_same(root / "releases" / running, manifest):
            return {"version": running, "same": True}
        raise release.bad(f"release {running} runs already, with other content")
    release.install(file, root, manifest, order["max_bytes"])
    rewrites = any(manifest.data[book] > version for book, version in order["data"].items())
    slots.begin_trial(str(root), manifest.version, key=order["key"], order=order["order"],
                      trial_s=order["trial_s"], books=order["books"] if rewrites else [])
    return {"version": manifest.version, "same": False}


def confirm(order: Told) -> Told:
    """The release on trial stays; the one before it is kept, others go."""
    if not slots.confirm(order["root"], order["key"]):
        raise ChildFailed("verification", "it is no longer on trial")
    tidy(order)
    return {}


def tidy(order: Told) -> Told:
    """Remove releases that are neither the present one nor the one to go back to."""
    root = Path(order["root"])
    state = slots.read(str(root)) or {}
    if state.get("state") != slots.FAILING:
        shutil.rmtree(root / slots.BOOKS, ignore_errors=True)
    kept = {slots.current(str(root)), order["running"], state.get("previous")}
    release.sweep(root / "releases")
    for slot in (root / "releases").iterdir():
        if slot.name not in kept and slots.NAME.fullmatch(slot.name):
            shutil.rmtree(slot, ignore_errors=True)
    return {}


WORK: dict[str, Callable[[Told], Told]] = {
    "check": check_certificate, "verify": verify, "install": install, "confirm": confirm,
    "tidy": tidy}


def work(order: Told, tell: Callable[[Told], Any]) -> Told:
    """Carry out one order."""
    warnings.simplefilter("ignore")  # of certificates that we judge ourselves
    os.umask(0o022)
    try:
        return WORK[order["do"]](order)
    except MemoryError as error:
        raise ChildFailed("too_large", "more memory is needed than is allowed") from error
    except OSError as error:
        raise ChildFailed("disk", f"{error.filename}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise release.bad(str(error)) from error


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    serve(work)
