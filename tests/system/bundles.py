"""An update that does not work, for the scenario that rolls it back.

    python -m tests.system.bundles FOLDER

Puts `cpctl-0.1.2.tar.gz` there, a signed release whose daemon ends as soon as it is imported, and
`test-root.pem`, the authority that vouches for its signature.
"""

import platform
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "deploy")]

import make_release  # noqa: E402

BROKEN = "0.1.2"


def main(out: Path) -> None:
    key, certificate = make_release.key_for_tests(out)
    tree = out / "tree"
    tree.mkdir()
    make_release.make_tree(tree, BROKEN, dependencies=True)
    app = tree / "cpctl" / "app.py"
    app.write_text(app.read_text() + "\nraise RuntimeError('this release is broken')\n")
    manifest = make_release.manifest_of(tree, BROKEN, platform.machine())
    make_release.pack(tree, manifest, out / f"cpctl-{BROKEN}.tar.gz",
                      signature=make_release.sign(key, manifest), signer=certificate)
    shutil.rmtree(tree)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
