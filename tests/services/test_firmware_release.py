"""Bundles and signatures: what is taken, what is refused and by what name, and nothing is left."""

import base64
import gzip
import io
import json
import os
import resource
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.file_servers import http_server
from support.pki import EXPIRED, LONG_VALID, NOT_YET_VALID, Authority, Credential
from support.releases import Maker, lay_out, left_in, make_release

from cpctl import slots
from cpctl.services import firmware_child, release
from cpctl.services.child import ChildFailed

MIB = 1 << 20
DATA = {"journal": 1, "station": 1}


def order(folder: Path, maker: Maker, file: Path, **more: Any) -> dict[str, Any]:
    """What the daemon tells its child of a signed update."""
    roots = folder / "roots.pem"
    if not roots.exists():
        roots.write_text(maker.root.pem)
    return {
        "do": "verify", "signed": True, "certificate": maker.signer.pem,
        "signature": maker.signature(file) if file.exists() else "", "online": False,
        "roots": [str(roots)], "algorithms": ["rsa_pss", "ecdsa"],
        "utc": datetime.now(UTC).isoformat(), "trusted": True, "unsigned_bundles": False,
        "file": str(file), "root": str(folder / "opt"), "running": "0.1.0",
        "max_bytes": 64 * MIB, "data": DATA, "key": "k", "order": {}, "trial_s": 60,
        "books": [str(folder / "state" / "journal.db")], **more}


def work(asked: Mapping[str, Any], do: str = "verify") -> dict[str, Any]:
    return firmware_child.work({**asked, "do": do}, lambda told: None)


def refused(asked: Mapping[str, Any], do: str = "verify") -> ChildFailed:
    with pytest.raises(ChildFailed) as caught:
        work(asked, do)
    return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Path:
    lay_out(tmp_path / "opt")
    return tmp_path


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


def assert_nothing_changed(place: Path) -> None:
    assert left_in(place / "opt") == {"0.1.0"}
    assert slots.current(str(place / "opt")) == "0.1.0"
    assert slots.read(str(place / "opt")) is None


# --- good ones -----------------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.19", "L01.FR.04", "L01.FR.12", "E-34")
@pytest.mark.parametrize(("kind", "scheme", "algorithm"), [
    ("ec", "", "ecdsa"), ("ec384", "", "ecdsa"), ("rsa", "pss", "rsa_pss"),
    ("rsa", "pkcs1", "rsa_pkcs1")])
def test_each_kind_of_signature_is_taken_where_it_is_allowed(
        place: Path, kind: str, scheme: str, algorithm: str) -> None:
    maker = Maker(kind=kind)
    file = maker.small(place)
    asked = order(place, maker, file, signature=maker.signature(file, scheme=scheme))

    work({**asked, "algorithms": [algorithm]})

    others = [one for one in ("rsa_pss", "rsa_pkcs1", "ecdsa") if one != algorithm]
    assert refused({**asked, "algorithms": others}).kind == "signature"


def test_what_is_good_becomes_a_slot_on_trial(place: Path, maker: Maker) -> None:
    file = maker.small(place, files={"cpctl/a.py": b"1", "lib/deep/b.so": b"2" * 1000})

    assert work(order(place, maker, file), "install") == {"version": "0.2.0", "same": False}

    slot = place / "opt" / "releases" / "0.2.0"
    assert (slot / "lib/deep/b.so").read_bytes() == b"2" * 1000
    assert (slot / "bin/cpctl").stat().st_mode & 0o777 == 0o755
    assert (slot / "cpctl/a.py").stat().st_mode & 0o777 == 0o644
    assert slots.choose(str(place / "opt")) == "0.2.0"


@pytest.mark.parametrize("version", [1, 2])
def test_books_are_kept_for_the_way_back_only_where_they_are_rewritten(
        version: int, place: Path, maker: Maker) -> None:
    file = maker.small(place)
    rebuilt(file, lambda info, content: [(info, json.dumps(
        json.loads(content) | {"data": {"journal": version, "station": 9}}).encode()
        if info.name == release.MANIFEST else content)])

    work(order(place, maker, file, data={"journal": 1, "station": 9}), "install")

    state = slots.read(str(place / "opt"))
    assert state is not None
    assert bool(state["books"]) is (version == 2)


def test_the_release_that_runs_is_not_installed_again(place: Path, maker: Maker) -> None:
    file = maker.small(place)
    work(order(place, maker, file), "install")

    again = work(order(place, maker, file, running="0.2.0"), "install")
    assert again == {"version": "0.2.0", "same": True}

    (place / "other").mkdir()
    other = maker.small(place / "other", files={"a": b"other"})
    failed = refused(order(place, maker, other, running="0.2.0"), "install")
    assert (failed.kind, "other content" in failed.detail) == ("verification", True)


def test_a_slot_that_failed_before_is_replaced(place: Path, maker: Maker) -> None:
    slot = place / "opt" / "releases" / "0.2.0"
    (slot / "bin").mkdir(parents=True)
    (slot / "bin" / "leftover").write_text("of the first try")
    (place / "opt" / "releases" / ".new-0.3.0").mkdir()

    work(order(place, maker, maker.small(place)), "install")

    assert not (slot / "bin" / "leftover").exists()
    assert left_in(place / "opt") == {"0.1.0", "0.2.0"}


def test_after_a_confirmation_only_the_one_before_is_kept(place: Path, maker: Maker) -> None:
    lay_out(place / "opt", "0.0.9")
    slots.point(str(place / "opt"), "0.1.0")
    work(order(place, maker, maker.small(place)), "install")
    slots.choose(str(place / "opt"))

    work(order(place, maker, place / "gone", running="0.2.0"), "confirm")

    assert left_in(place / "opt") == {"0.1.0", "0.2.0"}
    failed = refused(order(place, maker, place / "gone", key="other"), "confirm")
    assert failed.kind == "verification"


# --- certificates --------------------------------------------------------------------------------


def signer_of_root(root: Authority, *purposes: Any, **how: Any) -> Credential:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    return root.issue(name, purposes=purposes, **how)


def other_signers(maker: Maker) -> dict[str, Credential]:
    root = maker.root
    return {
        "another root": Maker().signer,
        "an intermediate": root.intermediate().signer(),
        "the root itself": root,
        "expired": root.signer(valid=EXPIRED),
        "not yet valid": root.signer(valid=NOT_YET_VALID),
        "for servers": signer_of_root(root, ExtendedKeyUsageOID.SERVER_AUTH),
        "too weak a key": root.signer(kind="rsa1024"),
        "an authority": root.intermediate(),
    }


@pytest.mark.requirement("16.SEC.18", "L01.FR.12", "L01.FR.24", "A00.FR.502")
@pytest.mark.parametrize("which", ["another root", "an intermediate", "the root itself", "expired",
                                   "not yet valid", "for servers", "too weak a key",
                                   "an authority"])
def test_a_signing_certificate_that_is_not_good_is_refused(which: str, place: Path, maker: Maker
                                                           ) -> None:
    signer = other_signers(maker)[which]
    file = maker.small(place)
    signature = base64.b64encode(signer.signed(file.read_bytes())).decode()
    asked = order(place, maker, file, certificate=signer.pem, signature=signature)

    assert refused(asked, "check").kind == "certificate"
    assert refused(asked, "install").kind == "certificate"
    assert_nothing_changed(place)


@pytest.mark.parametrize("text", ["", "☺", "-----BEGIN CERTIFICATE-----\nAAAA\n",
                                  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_text_that_is_no_certificate_is_refused(text: str, place: Path, maker: Maker) -> None:
    asked = order(place, maker, maker.small(place), certificate=text)

    assert refused(asked, "check").kind == "certificate"


def test_without_a_root_of_the_maker_nothing_is_taken(place: Path, maker: Maker) -> None:
    asked = order(place, maker, maker.small(place), roots=[])

    failed = refused(asked, "check")

    assert failed.kind == "certificate"
    assert "no root certificate of the manufacturer" in failed.detail


def test_a_clock_that_is_behind_refuses_no_certificate(place: Path) -> None:
    maker = Maker()
    long_ago = (datetime.now(UTC) - timedelta(days=5000)).isoformat()
    asked = order(place, maker, maker.small(place), utc=long_ago)

    work({**asked, "trusted": False}, "check")

    assert refused({**asked, "trusted": True}, "check").kind == "certificate"


@pytest.mark.requirement("16.SEC.18", "L01.FR.25")
def test_a_revoked_certificate_is_named_so(place: Path, maker: Maker) -> None:
    folder = place / "lists"
    folder.mkdir()
    with http_server(folder) as server:
        signer = _with_list(maker.root, server.url("maker.crl"))
        file = maker.small(place)
        asked = order(place, maker, file, certificate=signer.pem, online=True,
                      signature=base64.b64encode(signer.signed(file.read_bytes())).decode())
        work(asked, "check")  # the list cannot be had
        (folder / "maker.crl").write_bytes(_list_of(Maker().root, signer))
        work(asked, "check")  # somebody else's list
        (folder / "maker.crl").write_bytes(_list_of(maker.root))
        work(asked, "check")
        (folder / "maker.crl").write_bytes(_list_of(maker.root, signer))

        assert refused(asked, "check").kind == "revoked"


def _with_list(root: Authority, url: str) -> Credential:
    signer = root.signer(valid=LONG_VALID)
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    builder = x509.CertificateBuilder(
        root.certificate.subject, signer.certificate.subject, signer.key.public_key(),
        x509.random_serial_number(), datetime.now(UTC) - timedelta(days=1),
        datetime.now(UTC) + timedelta(days=9))
    made = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False).sign(
        root.key, hashes.SHA256())
    return Credential(made, signer.key)


def _list_of(root: Authority, *revoked: Credential) -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(
        root.certificate.subject, now - timedelta(hours=1), now + timedelta(days=1))
    for one in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder(one.certificate.serial_number, now).build())
    return builder.sign(root.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


# --- signatures ----------------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.19", "L01.FR.03", "L01.FR.04")
@pytest.mark.parametrize("how", ["one bit", "another file", "cut", "longer", "no base64", "empty"])
def test_a_signature_that_does_not_fit_the_whole_file_is_refused(how: str, place: Path,
                                                                 maker: Maker) -> None:
    file = maker.small(place)
    asked = order(place, maker, file)
    content = file.read_bytes()
    match how:
        case "one bit":
            file.write_bytes(content[:-9] + bytes((content[-9] ^ 1,)) + content[-8:])
        case "another file":
            asked["signature"] = maker.signature(maker.small(place, "0.3.0"))
        case "cut":
            file.write_bytes(content[:-1])
        case "longer":
            file.write_bytes(content + b"\0")
        case "no base64":
            asked["signature"] = "☺"
        case "empty":
            asked["signature"] = ""

    assert refused(asked).kind == "signature"
    assert refused(asked, "install").kind == "signature"
    assert_nothing_changed(place)


def test_an_unsigned_order_needs_a_signed_bundle(place: Path, maker: Maker) -> None:
    good = maker.small(place)
    bare = maker.small(place, "0.3.0", signed=False)
    (place / "theirs").mkdir()
    foreign = Maker().small(place / "theirs", "0.4.0")

    assert work(order(place, maker, good, signed=False)) == {"version": "0.2.0"}
    assert refused(order(place, maker, bare, signed=False)).kind == "signature"
    assert refused(order(place, maker, foreign, signed=False)).kind == "certificate"
    allowed = order(place, maker, bare, signed=False, unsigned_bundles=True)
    assert work(allowed) == {"version": "0.3.0"}
    foreign_allowed = order(place, maker, foreign, signed=False, unsigned_bundles=True)
    assert refused(foreign_allowed).kind == "certificate"


# --- bundles -------------------------------------------------------------------------------------


def rebuilt(bundle: Path, change: Any) -> None:
    """The bundle with its members changed by `change(name, info, content) -> list of pairs`."""
    with tarfile.open(bundle) as archive:
        members = [(one, archive.extractfile(one)) for one in archive]
        parts = [(one, content.read() if content else b"") for one, content in members]
    with bundle.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw) as packed, \
            tarfile.open(fileobj=packed, mode="w|") as archive:
        for info, content in parts:
            for new_info, new_content in change(info, content):
                new_info.size = len(new_content) if new_info.isreg() else 0
                archive.addfile(new_info, io.BytesIO(new_content))


def _other(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def tampering(info: tarfile.TarInfo, content: bytes, how: str) -> list[tuple[Any, bytes]]:
    if info.name != "tree/bin/cpctl":
        return [(info, content)]
    extra = {
        "beside the manifest": (_other("tree/extra"), b"x"),
        "out by dots": (_other("tree/../../../../escaped"), b"x"),
        "absolute": (_other("/tmp/escaped"), b"x"),
        "a link": (_other("tree/lib", tarfile.SYMTYPE, "/etc"), b""),
        "a hard link": (_other("tree/lib", tarfile.LNKTYPE, "/etc/passwd"), b""),
        "a device": (_other("tree/dev", tarfile.CHRTYPE), b""),
        "a pipe": (_other("tree/pipe", tarfile.FIFOTYPE), b""),
        "twice": (_other("tree/bin/cpctl"), content),
    }
    match how:
        case "other content":
            return [(info, content.replace(b"cpctl", b"CPCTL"))]
        case "longer":
            return [(info, content + b"#")]
        case "missing":
            return []
        case "a link in its place":
            return [(_other(info.name, tarfile.SYMTYPE, "/bin/sh"), b"")]
        case _:
            return [(info, content), extra[how]]


TAMPERED = ["other content", "longer", "missing", "a link in its place", "beside the manifest",
            "out by dots", "absolute", "a link", "a hard link", "a device", "a pipe", "twice"]


@pytest.mark.requirement("16.SEC.19")
@pytest.mark.parametrize("how", TAMPERED)
def test_a_bundle_that_is_not_what_its_manifest_says_is_refused(how: str, place: Path,
                                                                maker: Maker) -> None:
    file = maker.small(place)
    rebuilt(file, lambda info, content: tampering(info, content, how))

    failed = refused(order(place, maker, file), "install")

    assert failed.kind == "verification"
    assert_nothing_changed(place)
    assert not (place / "escaped").exists()


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a//b", "./a", "a/./b", "a/", "",
                                  "a\\b", "a\nb", "x" * 600, "manifest.json"])
def test_a_manifest_that_names_a_path_outside_is_refused(path: str, place: Path, maker: Maker
                                                         ) -> None:
    file = maker.small(place)
    manifest = json.loads(release.head_of(file).manifest.text)
    manifest["files"][path] = {"sha256": "0" * 64, "size": 1, "mode": "644"}

    with pytest.raises(ChildFailed, match="cannot be in a release"):
        release.manifest_of(json.dumps(manifest).encode())


MANIFESTS: dict[str, dict[str, Any]] = {
    "format": {"format": 2}, "product": {"name": "other"}, "version": {"version": "../0.2.0"},
    "no version": {"version": ""}, "files": {"files": []}, "no program": {"files": {}},
    "mode": {"files": {"bin/cpctl": {"sha256": "0" * 64, "size": 1, "mode": "4755"}}},
    "hash": {"files": {"bin/cpctl": {"sha256": "x", "size": 1, "mode": "755"}}},
    "size": {"files": {"bin/cpctl": {"sha256": "0" * 64, "size": -1, "mode": "755"}}},
    "python": {"python": "9.9"}, "machine": {"machine": "vax"},
    "older books": {"data": {"journal": 0, "station": 1}},
    "newer books": {"minimum_data": {"journal": 99, "station": 1}},
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_release_that_does_not_fit_is_refused(what: str, place: Path, maker: Maker) -> None:
    file = maker.small(place)
    rebuilt(file, lambda info, content: [(info, json.dumps(
        json.loads(content) | MANIFESTS[what]).encode() if info.name == release.MANIFEST
        else content)])

    assert refused(order(place, maker, file), "install").kind == "verification"
    assert_nothing_changed(place)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + b"\0" * 50, b"cut"])
def test_what_is_no_bundle_is_refused(content: bytes, place: Path, maker: Maker) -> None:
    file = maker.small(place)
    good = file.read_bytes()
    file.write_bytes(good[:len(good) // 2] if content == b"cut" else content)

    failed = refused(order(place, maker, file), "install")

    assert failed.kind == "verification"
    assert_nothing_changed(place)


@pytest.mark.parametrize(("how", "found"), [
    ({"code": 3}, "asked for its version"), ({"says": "0.9.9"}, "0.9.9")])
def test_a_release_that_does_not_tell_its_version_is_refused(
        how: dict[str, Any], found: str, place: Path, maker: Maker) -> None:
    failed = refused(order(place, maker, maker.small(place, **how)), "install")

    assert failed.kind == "verification"
    assert found in failed.detail
    assert_nothing_changed(place)


def test_a_release_above_the_limit_is_refused(place: Path, maker: Maker) -> None:
    file = maker.small(place, files={"big": b"\0" * (2 * MIB)})

    failed = refused(order(place, maker, file, max_bytes=MIB), "install")

    assert failed.kind == "too_large"
    assert_nothing_changed(place)


def test_a_full_disk_is_named_and_nothing_is_left(place: Path, maker: Maker,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    file = maker.small(place, files={"big": os.urandom(300_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        failed = refused(order(place, maker, file), "install")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.kind == "disk_full"
    assert_nothing_changed(place)

    monkeypatch.setattr(release, "ROOM_LEFT", 1 << 60)
    failed = refused(order(place, maker, file), "install")
    assert (failed.kind, "are needed" in failed.detail) == ("disk_full", True)
    assert_nothing_changed(place)


def test_the_whole_project_is_a_release(place: Path, maker: Maker) -> None:
    """`make release` and what unpacks it agree; the tree runs from where it lies."""
    file = maker.whole(place, "0.2.0")

    work(order(place, maker, file), "install")

    assert (place / "opt/releases/0.2.0/cpctl/app.py").is_file()
    assert slots.current(str(place / "opt")) == "0.2.0"


def test_the_same_tree_makes_the_same_bundle(place: Path, maker: Maker) -> None:
    (place / "tree" / "bin").mkdir(parents=True)
    (place / "tree" / "bin" / "cpctl").write_text("x")
    manifest = make_release.manifest_of(place / "tree", "0.2.0", "any")

    make_release.pack(place / "tree", manifest, place / "one")
    make_release.pack(place / "tree", manifest, place / "two")

    assert (place / "one").read_bytes() == (place / "two").read_bytes()
