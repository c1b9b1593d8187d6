"""Releases for tests: bundles small and whole, their maker, a releases folder, its launcher."""

import base64
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.pki import LONG_VALID, Authority, Credential

from cpctl import slots

_ROOT = Path(__file__).resolve().parents[2]


def _loaded(name: str) -> Any:
    """`deploy/<name>.py`, as it stands."""
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, _ROOT / "deploy" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


libraries: Any = _loaded("libraries")
make_release: Any = _loaded("make_release")
make_deb: Any = _loaded("make_deb")

PROGRAM = 'import sys\nprint("cpctl {version}")\nsys.exit({code})\n'


class Maker:
    """Who makes releases, and signs them."""

    def __init__(self, *, kind: str = "ec") -> None:
        self.root = Authority("Maker Root", kind=kind)
        self.signer: Credential = self.root.signer(kind=kind, valid=LONG_VALID)

    def small(self, folder: Path, version: str = "0.2.0", *,
              files: Mapping[str, bytes] | None = None,
              code: int = 0, signed: bool = True, says: str | None = None) -> Path:
        """A bundle with nothing in it but a program that tells its version.

        `code` is what it ends with, `says` the version it claims.
        """
        tree = folder / f"tree-{version}"
        (tree / "bin").mkdir(parents=True)
        program = tree / "bin" / "cpctl"
        program.write_text(PROGRAM.format(version=says or version, code=code))
        program.chmod(0o755)
        for path, content in (files or {}).items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        text = make_release.manifest_of(tree, version, "any")
        bundle = folder / f"cpctl-{version}.tar.gz"
        make_release.pack(tree, text, bundle, signature=self.signer.signed(text) if signed else b"",
                          signer=self.signer.pem.encode())
        return bundle

    def whole(self, folder: Path, version: str, patches: Mapping[str, str] | None = None) -> Path:
        """A bundle of the project itself; `patches` are lines put before a file's own."""
        tree = folder / f"whole-{version}"
        tree.mkdir()
        make_release.make_tree(tree, version, dependencies=False)
        for path, line in (patches or {}).items():
            (tree / path).write_text(line + "\n" + (tree / path).read_text())
        manifest = make_release.manifest_of(tree, version, "any")
        bundle = folder / f"cpctl-{version}.tar.gz"
        make_release.pack(tree, manifest, bundle, signature=self.signer.signed(manifest),
                          signer=self.signer.pem.encode())
        return bundle

    def signature(self, bundle: Path, *, scheme: str = "pss") -> str:
        return base64.b64encode(self.signer.signed(bundle.read_bytes(), scheme=scheme)).decode()


def lay_out(root: Path, version: str = "0.1.0") -> None:
    """A releases folder with one release that tells its version."""
    slot = Path(slots.folder(str(root), version))
    (slot / "bin").mkdir(parents=True)
    (slot / "bin" / "cpctl").write_text(PROGRAM.format(version=version, code=0))
    slots.point(str(root), version)


def whole_slot(root: Path, version: str) -> None:
    """A releases folder with the project itself in it, and its launcher."""
    make_release.install(root, version, dependencies=False)


def left_in(root: Path) -> set[str]:
    """What lies in the slots' folder, hidden things too."""
    return {one.name for one in (root / "releases").iterdir()}
