"""Build a release: the tree of a slot, and the signed bundle that updates bring (docs/releases.md).

    python deploy/make_release.py --out dist                    a bundle, signed by a key for tests
    python deploy/make_release.py --out dist --key maker.key --certificate maker.pem
    python deploy/make_release.py --install /opt/cpctl          lay out the releases folder itself

The tree holds the libraries for one machine (`--machine`) and several Pythons (libraries.py); the
Debian package (make_deb.py) is made of the same tree.

`<bundle>.sig` holds the signature for SignedUpdateFirmware, over the whole file, in base64.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "deploy")]

import libraries  # noqa: E402

from cpctl import slots  # noqa: E402
from cpctl.services import release  # noqa: E402
from cpctl.store.migrations import JOURNAL, STATION  # noqa: E402
from cpctl.version import VERSION  # noqa: E402

PACKAGES = ("cpctl", "hal")
KEPT = (".py", ".sql", ".typed")
PROGRAM = '''\
#!/usr/bin/env python3
"""cpctl of this release, wherever the release lies."""

import os
import sys

here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
paths = [here, os.path.join(here, "lib")]
sys.path[0:0 if sys.flags.safe_path else 1] = paths
os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for the processes that this one starts
os.environ["PYTHONSAFEPATH"] = "1"

if sys.argv[1:3] == ["hw", "safe"]:  # a coil may still be on: imports take longer than all else
    from cpctl.cli.early import drive_coils_off

    drive_coils_off()

from cpctl.cli.main import main  # noqa: E402

sys.exit(main())
'''


# --- the tree ------------------------------------------------------------------------------------


def make_tree(into: Path, version: str, *, dependencies: bool, machine: str = "",
              more: Sequence[str] = ()) -> None:
    """All that is needed to run on `machine` (without it: on this one), in the folder `into`, and
    the packages `more`. Without `dependencies` those of the interpreter that runs it are used."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*")):
            if file.suffix in KEPT and file.is_file():
                target = into / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    words = (into / "cpctl" / "version.py").read_text().replace(f'"{VERSION}"', f'"{version}"')
    (into / "cpctl" / "version.py").write_text(words)
    program = into.joinpath(*slots.PROGRAM)
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    if dependencies:
        libraries.lay_out(into / "lib", machine or platform.machine(), more)


def make_slot(root: Path, version: str, *, dependencies: bool, machine: str = "",
              more: Sequence[str] = ()) -> Path:
    """A new slot in the releases folder `root`, as a bundle would make it, and the launcher."""
    slot = Path(slots.folder(str(root), version))
    slot.parent.mkdir(parents=True, exist_ok=True)
    slot.mkdir()
    make_tree(slot, version, dependencies=dependencies, machine=machine, more=more)
    made_for = (machine or platform.machine()) if dependencies else "any"
    (slot / release.MANIFEST).write_bytes(manifest_of(slot, version, made_for))
    launcher = root / "launch"
    shutil.copyfile(ROOT / "cpctl" / "slots.py", launcher)
    launcher.chmod(0o755)
    return slot


# --- the bundle ----------------------------------------------------------------------------------


def manifest_of(tree: Path, version: str, machine: str) -> bytes:
    data = {"journal": len(JOURNAL), "station": len(STATION)}
    files = {str(file.relative_to(tree)): {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size,
        "mode": "755" if file.stat().st_mode & 0o100 else "644"}
        for file in sorted(tree.rglob("*")) if file.is_file() and "__pycache__" not in file.parts}
    return json.dumps({
        "format": release.FORMAT, "name": release.PRODUCT, "version": version, "machine": machine,
        "python": "3.11", "data": data, "minimum_data": {"journal": 1, "station": 1},
        "files": files}, indent=1).encode()


def pack(tree: Path, manifest: bytes, out: Path, *, signature: bytes = b"", signer: bytes = b""
         ) -> None:
    """The bundle of a tree; the same tree makes the same bundle."""
    heads = [(release.MANIFEST, manifest)]
    if signature:
        heads += [(release.SIGNATURE, signature), (release.SIGNER, signer)]
    with out.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, \
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, content in heads:
            _add(archive, name, content, 0o644)
        for path, entry in json.loads(manifest)["files"].items():
            _add(archive, release.TREE + path, (tree / path).read_bytes(),
                 release.MODES[entry["mode"]])


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


# --- signatures ----------------------------------------------------------------------------------


def sign(key: Any, content: bytes) -> bytes:
    """RSA-PSS or ECDSA with SHA-256, whichever the key is for."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(content, ec.ECDSA(hashes.SHA256()))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return bytes(key.sign(content, pss, hashes.SHA256()))


def key_for_tests(out: Path) -> tuple[Any, bytes]:
    """A signing key, its certificate, and `test-root.pem` that vouches for it: for the bench."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "For tests"),
                          x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    made = []
    for subject, public, ca in ((named("cpctl test root"), root_key, True),
                                (named("cpctl test signing"), key, False)):
        builder = x509.CertificateBuilder(
            named("cpctl test root"), subject, public.public_key(), x509.random_serial_number(),
            now - timedelta(days=1), now + timedelta(days=365)).add_extension(
            x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if not ca:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        made.append(builder.sign(root_key, hashes.SHA256()).public_bytes(
            serialization.Encoding.PEM))
    (out / "test-root.pem").write_bytes(made[0])
    return key, made[1]


def _load_key(file: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(file.read_bytes(), None)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{file} is no private key in PEM without a passphrase") from problem


# --- what is asked for ---------------------------------------------------------------------------


def make_bundle(out: Path, version: str, *, key: Any, certificate: bytes,
                dependencies: bool = True, machine: str = "", more: Sequence[str] = ()) -> Path:
    """`<out>/cpctl-<version>.tar.gz`, and its signature beside it."""
    out.mkdir(parents=True, exist_ok=True)
    tree = out / f"tree-{version}"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    make_tree(tree, version, dependencies=dependencies, machine=machine, more=more)
    made_for = (machine or platform.machine()) if dependencies else "any"
    manifest = manifest_of(tree, version, made_for)
    bundle = out / f"cpctl-{version}.tar.gz"
    pack(tree, manifest, bundle, signature=sign(key, manifest), signer=certificate)
    whole = base64.b64encode(sign(key, bundle.read_bytes())).decode()
    bundle.with_name(f"{bundle.name}.sig").write_text(whole + "\n")
    shutil.rmtree(tree)
    return bundle


def install(root: Path, version: str, *, dependencies: bool = True, machine: str = "",
            more: Sequence[str] = ()) -> None:
    """The first release in the releases folder `root`, with its launcher."""
    make_slot(root, version, dependencies=dependencies, machine=machine, more=more)
    slots.point(str(root), version)


def _words() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--version", default=VERSION, help="default %(default)s")
    words.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the bundle")
    words.add_argument("--key", type=Path, help="key that signs, PEM; without it one for tests")
    words.add_argument("--certificate", type=Path, help="its certificate, PEM")
    words.add_argument("--no-dependencies", action="store_true",
                       help="the libraries are those of the interpreter")
    words.add_argument("--machine", choices=sorted(libraries.MACHINES), default=platform.machine(),
                       help="of the station, as `uname -m` tells it (default: %(default)s)")
    words.add_argument("--add", action="append", default=[], metavar="PACKAGE",
                       help="with this package too: a name, or the folder of a vendor's handlers")
    words.add_argument("--install", type=Path, metavar="FOLDER",
                       help="lay out a releases folder instead")
    return words


def _done(asked: argparse.Namespace) -> str:
    """Do what was asked for; what to say of it. Raises OSError, ValueError."""
    if not slots.NAME.fullmatch(asked.version):
        raise ValueError(f"version {asked.version!r}: letters, digits and .+_~- only, at most 50")
    if bool(asked.key) != bool(asked.certificate):
        raise ValueError("--key and --certificate go together")
    how: dict[str, Any] = {"dependencies": not asked.no_dependencies, "machine": asked.machine,
                           "more": asked.add}
    if asked.install:
        if Path(slots.folder(str(asked.install), asked.version)).exists():
            raise ValueError(f"release {asked.version} is in {asked.install} already; "
                             "give another --version, or remove it")
        install(asked.install, asked.version, **how)
        return f"{asked.install / 'launch'} starts release {asked.version}"
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.key:
        key, certificate = _load_key(asked.key), asked.certificate.read_bytes()
    else:
        key, certificate = key_for_tests(asked.out)
        (asked.out / "test-signer.pem").write_bytes(certificate)
    return str(make_bundle(asked.out, asked.version, key=key, certificate=certificate, **how))


def main() -> int:
    try:
        print(_done(_words().parse_args()))
    except (OSError, ValueError, subprocess.CalledProcessError) as problem:
        print(f"make_release: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
