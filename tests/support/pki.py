"""Certificates made in the test: authorities, servers, stations, signers; good ones and bad ones.

    root = Authority("Root")                       # EC P-256; kind="rsa" for RSA
    server = root.server("127.0.0.1", "localhost")
    old = root.server("127.0.0.1", valid=EXPIRED)
    context = server_context(server, client_ca=root)
    ca_file = root.write(folder, "root")[0]

Dates are those of the machine's own clock, by which OpenSSL checks them.
"""

from __future__ import annotations

import functools
import ipaddress
import ssl
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Days = tuple[float, float]  # from, until; days from now

VALID: Days = (-1, 365)
EXPIRED: Days = (-30, -1)
NOT_YET_VALID: Days = (30, 365)
LONG_VALID: Days = (-3650, 3650)

_PEM = serialization.Encoding.PEM
_OWNER_ONLY = 0o600


def new_key(kind: str = "ec") -> Any:
    """A key: "ec" (P-256), "ec384", "rsa" (2048, made once per process), "rsa1024" (too weak)."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ec384":
        return ec.generate_private_key(ec.SECP384R1())
    return _rsa(int(kind.removeprefix("rsa") or "2048"))


@functools.cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Credential:
    """A certificate with its key. `chain`: what stands between it and the root, its own first."""

    certificate: x509.Certificate
    key: Any
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(_PEM).decode()

    @property
    def chain_pem(self) -> str:
        """The certificate and those of the authorities between it and the root."""
        chain = (self.certificate, *self.chain)
        return "".join(one.public_bytes(_PEM).decode() for one in chain)

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """`name`.pem (the chain) and `name`.key in `folder`."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text(self.chain_pem)
        key.touch(mode=_OWNER_ONLY)
        key.write_text(self.key_pem)
        return certificate, key

    def signed(self, content: bytes, *, scheme: str = "pss") -> bytes:
        """A signature over `content` with SHA-256; RSA: "pss" or "pkcs1", EC: ECDSA."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(content, ec.ECDSA(hashes.SHA256()))
        how: Any = padding.PKCS1v15()
        if scheme == "pss":
            how = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return bytes(self.key.sign(content, how, hashes.SHA256()))


class Authority(Credential):
    """A certificate that issues others; without `issuer` a root."""

    def __init__(self, name: str = "Test Root", *, kind: str = "ec", valid: Days = LONG_VALID,
                 issuer: Authority | None = None, key: Any = None) -> None:
        key = key or new_key(kind)
        builder = _builder(_name(name), key.public_key(), valid).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(
            _usage(signs_certificates=True), critical=True)
        if issuer is None:
            made, chain = _sealed(builder, builder._subject_name, key.public_key(), key), ()
        else:
            made = _sealed(builder, issuer.certificate.subject, issuer.key.public_key(),
                           issuer.key)
            chain = () if not issuer.issued_by_other else issuer.as_chain
        super().__init__(made, key, chain)
        object.__setattr__(self, "issuer", issuer)

    @property
    def issued_by_other(self) -> bool:
        return self.certificate.issuer != self.certificate.subject

    @property
    def as_chain(self) -> tuple[x509.Certificate, ...]:
        """What a certificate issued here needs beside itself and the root."""
        return (self.certificate, *self.chain) if self.issued_by_other else ()

    def intermediate(self, name: str = "Test Intermediate", **how: Any) -> Authority:
        return Authority(name, issuer=self, **how)

    def server(self, *hosts: str, kind: str = "ec", valid: Days = VALID,
               common_name: str = "") -> Credential:
        """For a server of these names or addresses; none: 127.0.0.1 and localhost."""
        hosts = hosts or ("127.0.0.1", "localhost")
        return self.issue(_name(common_name or hosts[0]), kind=kind, valid=valid, hosts=hosts,
                          purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))

    def client(self, identity: str = "CP001", *, organisation: str = "Example", kind: str = "ec",
               valid: Days = VALID) -> Credential:
        """A station's certificate."""
        return self.issue(_name(identity, organisation), kind=kind, valid=valid,
                          purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))

    def signer(self, name: str = "Firmware signing", *, kind: str = "ec", valid: Days = VALID
               ) -> Credential:
        """A certificate of the maker that signs firmware."""
        return self.issue(_name(name), kind=kind, valid=valid,
                          purposes=(ExtendedKeyUsageOID.CODE_SIGNING,))

    def for_request(self, csr_pem: str, *, valid: Days = VALID) -> str:
        """The chain (PEM) for a certificate signing request, as a central system makes it."""
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        made = self.issue(csr.subject, public_key=csr.public_key(), valid=valid,
                          purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        return made.chain_pem

    def issue(self, subject: x509.Name, *, kind: str = "ec", valid: Days = VALID,
              hosts: Sequence[str] = (), purposes: Sequence[x509.ObjectIdentifier] = (),
              public_key: Any = None) -> Credential:
        """A certificate for `subject`; `public_key` given: of a key that is elsewhere."""
        key = None if public_key is not None else new_key(kind)
        builder = _builder(subject, public_key if key is None else key.public_key(), valid)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None),
                                        critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(one) for one in hosts]), critical=False)
        made = _sealed(builder, self.certificate.subject, self.key.public_key(), self.key)
        return Credential(made, key, self.as_chain)


def self_signed(*hosts: str, kind: str = "ec", valid: Days = VALID) -> Credential:
    """A server's certificate that nobody but itself has signed."""
    hosts = hosts or ("127.0.0.1", "localhost")
    key = new_key(kind)
    builder = _builder(_name(hosts[0]), key.public_key(), valid).add_extension(
        x509.SubjectAlternativeName([_host(one) for one in hosts]), critical=False)
    return Credential(_sealed(builder, builder._subject_name, key.public_key(), key), key)


def server_context(credential: Credential, *, client_ca: Credential | None = None,
                   minimum: ssl.TLSVersion | None = None, maximum: ssl.TLSVersion | None = None,
                   ciphers: str | None = None) -> ssl.SSLContext:
    """A server's side of TLS. `client_ca`: a client certificate of that authority is demanded.

    Old versions and weak suites need `ciphers` with @SECLEVEL=0.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    with warnings.catch_warnings():  # old versions are what some tests are about
        warnings.simplefilter("ignore", DeprecationWarning)
        if minimum is not None:
            context.minimum_version = minimum
        if maximum is not None:
            context.maximum_version = maximum
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = credential.write(Path(folder), "server")
        context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(cadata=client_ca.pem)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _name(common_name: str, organisation: str = "Example") -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
                      x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _builder(subject: x509.Name, public_key: Any, valid: Days) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder().subject_name(subject).public_key(public_key).serial_number(
        x509.random_serial_number()).not_valid_before(
        now + timedelta(days=valid[0])).not_valid_after(
        now + timedelta(days=valid[1])).add_extension(
        x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False,
        key_encipherment=not signs_certificates, data_encipherment=False, key_agreement=False,
        key_cert_sign=signs_certificates, crl_sign=signs_certificates, encipher_only=False,
        decipher_only=False)


def _sealed(builder: x509.CertificateBuilder, issuer: x509.Name, issuer_key: Any, key: Any
            ) -> x509.Certificate:
    return builder.issuer_name(issuer).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
    ).sign(key, hashes.SHA256())
