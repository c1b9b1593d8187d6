"""The cryptography of certificates: run as a child process, `python -m` and the name of this file.

One order on standard input, one answer (see `child.py`). A failure of kind "invalid" is a verdict
on what was handed in; its detail is a sentence for people. A private key is made here and goes
into its file from here: no other process ever holds it.
Source: security whitepaper edition 3, 2.6.1 (properties), A02, A03, M05; RFC 5280 §6; RFC 6960.
"""

import resource
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cpctl.core.jobs import CertificateHash
from cpctl.services.certificate_about import About, told_of
from cpctl.services.child import ChildFailed, Told, serve
from cpctl.store.certificates import key_file_of
from cpctl.store.errors import StoreError
from cpctl.store.key_files import KeyFolder

MOST_CERTIFICATES = 10  # in one text
LONGEST_TEXT = 200_000  # characters; a file of roots may be long
LONGEST_PATH = 6  # certificates from the station's own to the root
CPU_LIMIT_S = 20
MEMORY_LIMIT = 768 << 20
RSA_BITS = (2048, 8192)  # A00.FR.502; more is only slow
EC_BITS = 224  # A00.FR.503
GOOD_HASHES = ("sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512")
ALGORITHMS: tuple[tuple[str, hashes.HashAlgorithm], ...] = (
    ("SHA256", hashes.SHA256()), ("SHA384", hashes.SHA384()), ("SHA512", hashes.SHA512()))
UNDERSTOOD = (x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid,
              x509.SubjectAlternativeName.oid, x509.SubjectKeyIdentifier.oid,
              x509.AuthorityKeyIdentifier.oid, x509.CertificatePolicies.oid)
PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER

Cert = x509.Certificate


def invalid(finding: str) -> ChildFailed:
    return ChildFailed("invalid", finding)


# --- reading -------------------------------------------------------------------------------------


def certificates_of(text: str, most: int = MOST_CERTIFICATES) -> list[Cert]:
    """The certificates of a PEM text, one at least. Raises ChildFailed("invalid")."""
    if len(text) > LONGEST_TEXT:
        raise invalid(f"{len(text)} characters are too many")
    if "PRIVATE KEY-----" in text:
        raise invalid("a private key stands among the certificates")
    begun = text.count("-----BEGIN ")
    if begun == 0:
        raise invalid("not a certificate in PEM (it begins with -----BEGIN CERTIFICATE-----)")
    if begun > most:
        raise invalid(f"{begun} certificates, expected {most} at most")
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for one in found:
            _readable(one)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise invalid(f"cannot be read: {_short(error)}") from error
    if len(found) != begun:
        raise invalid("something else than certificates stands in it")
    return found


def _readable(one: Cert) -> None:
    """Touch what is parsed late. Raises ValueError for what is out of its range."""
    if one.serial_number < 0 or one.serial_number.bit_length() > 160:
        raise ValueError("the serial number is negative or longer than 20 bytes")
    if one.not_valid_after_utc < one.not_valid_before_utc:
        raise ValueError("it ends before it begins")
    tuple(one.extensions)
    one.public_key()
    one.subject.rfc4514_string()
    one.issuer.rfc4514_string()


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].partition(". See")[0][:120]


def single(text: str) -> Cert:
    """The one certificate of `text`. Raises ChildFailed."""
    found = certificates_of(text)
    if len(found) != 1:
        raise invalid(f"{len(found)} certificates, expected one")
    return found[0]


def extension(one: Cert, kind: type[Any]) -> Any:
    """The value of an extension, or None."""
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def about(one: Cert, issuers: Iterable[Cert] = ()) -> About:
    """What it says. `issuers`: where to look for who signed it."""
    signers = [other for other in issuers if signed_by(one, other)] or [one]
    if one not in signers:
        signers.append(one)  # some central systems hash the key of the certificate itself
    utc_floor = datetime(1970, 1, 1, tzinfo=UTC)
    return About(
        subject=one.subject.rfc4514_string(), issuer=one.issuer.rfc4514_string(),
        serial=f"{one.serial_number:x}",
        fingerprint=one.fingerprint(hashes.SHA256()).hex(), public_key=public_key_hash(one),
        not_before=max(one.not_valid_before_utc, utc_floor), not_after=one.not_valid_after_utc,
        hashes=tuple(_hash(one, signer, word, how)
                     for signer in signers for word, how in ALGORITHMS))


def _hash(one: Cert, issuer: Cert, word: str, how: hashes.HashAlgorithm) -> CertificateHash:
    """RFC 6960 §4.1.1, over what stands in the certificates, byte for byte."""
    asked = ocsp.OCSPRequestBuilder().add_certificate(one, issuer, how).build()
    return CertificateHash(word, asked.issuer_name_hash.hex(), asked.issuer_key_hash.hex(),
                           f"{one.serial_number:x}")


def public_key_der(key: Any) -> bytes:
    der: bytes = key.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def public_key_hash(one: Cert) -> str:
    return sha256(public_key_der(one.public_key())).hexdigest()


# --- verdicts ------------------------------------------------------------------------------------


def signed_by(one: Cert, issuer: Cert) -> bool:
    """Whether `issuer` signed `one`, by name and signature."""
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def must_be_strong(one: Cert) -> None:
    """A00.FR.501 to 504. Raises ChildFailed."""
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
            raise invalid(f"an RSA key of {key.key_size} bits, expected {RSA_BITS[0]} at least")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.key_size < EC_BITS:
            raise invalid(f"an elliptic curve of {key.curve.key_size} bits, expected {EC_BITS}")
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise invalid("a key that is neither RSA nor of an elliptic curve")
    try:
        how = one.signature_hash_algorithm
    except UnsupportedAlgorithm as error:
        raise invalid("signed with an algorithm that is not known") from error
    if how is not None and how.name not in GOOD_HASHES:
        raise invalid(f"signed with {how.name}, which is not secure")


def must_be_understood(one: Cert) -> None:
    """RFC 5280 §4.2: a critical extension that we cannot heed."""
    for each in one.extensions:
        if each.critical and each.oid not in UNDERSTOOD:
            raise invalid(f"a critical extension that is not known: {each.oid.dotted_string}")


def must_not_have_ended(one: Cert, now: datetime | None) -> None:
    """`now` None: the clock is not trusted, dates are no reason."""
    if now is not None and one.not_valid_after_utc <= now:
        raise invalid(f"{named(one)} has expired on {one.not_valid_after_utc:%Y-%m-%d}")


def named(one: Cert) -> str:
    return one.subject.rfc4514_string()[:80] or "a certificate without a subject"


def must_issue(one: Cert, below: int = 0) -> None:
    """It may sign certificates, with `below` further authorities beneath it."""
    constraints = extension(one, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise invalid(f"{named(one)} is not a certificate of an authority")
    if constraints.path_length is not None and constraints.path_length < below:
        raise invalid(f"{named(one)} allows no such long chain")
    usage = extension(one, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise invalid(f"{named(one)} may not sign certificates")


# --- work ----------------------------------------------------------------------------------------


def describe(order: Told) -> Told:
    """All certificates of a text, each alone, with what it says."""
    found = certificates_of(order["pem"], int(order.get("most", MOST_CERTIFICATES)))
    return {"found": [{"pem": _pem(one), "about": told_of(about(one, found))} for one in found]}


def check_root(order: Told) -> Told:
    """Whether a root may be installed. `signers` (PEM texts) not None: one of them signed it."""
    one = single(order["pem"])
    now = _moment(order["now"])
    must_be_strong(one)
    must_be_understood(one)
    must_not_have_ended(one, now)
    must_issue(one)
    if one.issuer == one.subject and not signed_by(one, one):
        raise invalid("its signature is wrong")
    known = [each for text in order["known"] for each in certificates_of(text)]
    signers = order["signers"]
    if signers is not None:
        old = [each for text in signers for each in certificates_of(text)]
        if not any(signed_by(one, each) for each in old):
            raise invalid("it is not signed by the root that it is to replace")
    return {"about": told_of(about(one, known)), "pem": _pem(one)}


def check_signed(order: Told) -> Told:
    """Whether a chain is a certificate for one of our keys: A02.FR.06."""
    found = certificates_of(order["pem"])
    now = _moment(order["now"])
    own = [one for one in found if key_file_of(public_key_hash(one)) in order["keys"]]
    if not own:
        raise invalid("it is not for a key of ours: no request of ours waits for it")
    leaf = own[0]
    must_be_ours(leaf, order["common_name"])
    must_not_have_ended(leaf, now)
    roots = [each for text in order["roots"] for each in certificates_of(text)]
    if not roots:
        raise invalid("no root of the central system is installed to check it against")
    moment = None if now is None else max(now, leaf.not_valid_before_utc)
    chain = path_to_root(leaf, [one for one in found if one is not leaf], roots, moment)
    return {"about": told_of(about(leaf, chain)), "pem": "".join(map(_pem, chain[:-1])),
            "key": key_file_of(public_key_hash(leaf))}


def must_be_ours(leaf: Cert, common_name: str) -> None:
    """The properties of a station's certificate: A00.FR.501 to 512. Raises ChildFailed."""
    must_be_strong(leaf)
    must_be_understood(leaf)
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if common_name not in [one.value for one in names]:
        raise invalid(f"its common name is not {common_name}, our serial number")
    if not leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        raise invalid("its subject names no organization")
    constraints = extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise invalid("it is a certificate of an authority")
    usage = extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise invalid("its key may not be used for signatures, which TLS needs")
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and not {ExtendedKeyUsageOID.CLIENT_AUTH, _ANY} & set(purposes):
        raise invalid("it may not be used by a TLS client")


_ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def path_to_root(leaf: Cert, between: Sequence[Cert], roots: Sequence[Cert],
                 moment: datetime | None) -> list[Cert]:
    """From `leaf` to one of the roots, in order, whatever the order of `between` was.

    Raises ChildFailed. `moment` None: dates are not looked at.
    """
    reasons: list[str] = []

    def led(chain: list[Cert]) -> list[Cert] | None:
        last = chain[-1]
        for candidates, is_root in ((roots, True), (between, False)):
            for issuer in candidates:
                if issuer in chain or not signed_by(last, issuer):
                    continue
                try:
                    _must_fit(issuer, len(chain) - 1, moment)
                except ChildFailed as failed:
                    reasons.append(failed.detail)
                    continue
                longer = [*chain, issuer]
                found = longer if is_root else (
                    led(longer) if len(longer) < LONGEST_PATH else None)
                if found is not None:
                    return found
        return None

    found = led([leaf])
    if found is None:
        raise invalid(reasons[0] if reasons else
                      "it does not lead to an installed root of the central system")
    return found


def _must_fit(issuer: Cert, below: int, moment: datetime | None) -> None:
    must_be_strong(issuer)
    must_be_understood(issuer)
    must_issue(issuer, below)
    must_not_have_ended(issuer, moment)
    if moment is not None and issuer.not_valid_before_utc > moment:
        raise invalid(f"{named(issuer)} is not valid yet")


def make_key(order: Told) -> Told:
    """A new key in its file, and a signing request for it: A02.FR.02, FR.03, FR.13."""
    key = _new_key(order["kind"])
    public = sha256(public_key_der(key.public_key())).hexdigest()
    subject = x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, order["common_name"]),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, order["organization"])])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(
        key, hashes.SHA384() if order["kind"] == "ec_p384" else hashes.SHA256())
    name = key_file_of(public)
    KeyFolder(Path(order["folder"])).write(name, key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return {"key": name, "csr": csr.public_bytes(PEM).decode()}


def _new_key(kind: str) -> Any:
    if kind.startswith("rsa_"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[4:]))
    return ec.generate_private_key(ec.SECP384R1() if kind == "ec_p384" else ec.SECP256R1())


def take_over(order: Told) -> Told:
    """A certificate with its key from the files that the configuration names."""
    found = certificates_of(Path(order["certificate"]).read_text(errors="replace"))
    leaf = found[0]
    content = Path(order["key"]).read_bytes()
    try:
        key: Any = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise invalid(f"{order['key']} is no private key without a passphrase: {_short(error)}"
                      ) from error
    public = public_key_hash(leaf)
    if sha256(public_key_der(key.public_key())).hexdigest() != public:
        raise invalid(f"{order['key']} is not the key of {order['certificate']}")
    name = key_file_of(public)
    KeyFolder(Path(order["folder"])).write(name, key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return {"about": told_of(about(leaf, found)), "pem": "".join(map(_pem, found)), "key": name}


def _pem(one: Cert) -> str:
    return one.public_bytes(PEM).decode()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


WORK: dict[str, Callable[[Told], Told]] = {
    "describe": describe, "check_root": check_root, "check_signed": check_signed,
    "make_key": make_key, "take_over": take_over}


def work(order: Told, tell: Callable[[Told], None]) -> Told:
    """Carry out one order. Raises ChildFailed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of serial numbers that we judge ourselves
        try:
            return WORK[order["do"]](order)
        except (StoreError, OSError) as error:
            raise ChildFailed("store", str(error)) from error


def limited() -> None:
    """Whatever is handed in: this process does not take the machine along."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


if __name__ == "__main__":
    limited()
    serve(work)
