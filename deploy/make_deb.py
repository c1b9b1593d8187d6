"""Build the Debian package: the tree of a release, the service, and what the system must know.

    python deploy/make_deb.py --out dist --arch arm64 --version 0.2.0

The release in it is the one that make_release.py packs for the same version and machine, file by
file; scripts and texts for dpkg lie in debian/. The same commit makes the same package: every time
stamp is SOURCE_DATE_EPOCH, which is that of the commit unless it is given.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import Parser
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
ROOT = DEPLOY.parent
sys.path[:0] = [str(ROOT), str(DEPLOY)]

import libraries  # noqa: E402
import make_release  # noqa: E402

from cpctl.store.migrations import JOURNAL, STATION  # noqa: E402
from cpctl.version import VERSION  # noqa: E402

ARCHITECTURES = {debian: machine for machine, debian in libraries.MACHINES.items()}
MAINTAINER = "cpctl maintainers <maintainers@cpctl.invalid>"
DEBIAN_VERSION = re.compile(r"[0-9][0-9A-Za-z.+~-]{0,49}")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
DOC = "usr/share/doc/cpctl"

# source: where it goes, its mode
FILES: Mapping[str, tuple[str, int]] = {
    "deploy/cpctl": ("usr/bin/cpctl", 0o755),
    "deploy/cpctl.example.toml": ("usr/share/cpctl/cpctl.example.toml", 0o644),
    "deploy/50-cpctl-pcscd.rules": ("usr/share/polkit-1/rules.d/50-cpctl-pcscd.rules", 0o644),
    "deploy/51-cpctl-reboot.rules": ("usr/share/polkit-1/rules.d/51-cpctl-reboot.rules", 0o644),
    "deploy/60-cpctl.rules": ("usr/lib/udev/rules.d/60-cpctl.rules", 0o644),
    "deploy/cpctl-pcsc-blacklist.conf": ("usr/lib/modprobe.d/cpctl.conf", 0o644),
    "deploy/debian/rtupdate": ("usr/share/python3/runtime.d/cpctl.rtupdate", 0o755),
    "deploy/debian/lintian-overrides": ("usr/share/lintian/overrides/cpctl", 0o644),
    "systemd/cpctl.sysusers": ("usr/lib/sysusers.d/cpctl.conf", 0o644),
    "systemd/90-cpctl-watchdog.conf": (
        "usr/lib/systemd/system.conf.d/90-cpctl-watchdog.conf", 0o644),
    "README.md": (f"{DOC}/README.md", 0o644),
}
FOLDERS: Mapping[str, tuple[str, str]] = {  # folder and pattern: where the files go
    "docs": ("*.md", f"{DOC}/docs"),
    "deploy/examples": ("*.toml", f"{DOC}/examples"),
    "systemd/cpctl.service.d": ("*.conf", f"{DOC}/examples/cpctl.service.d"),
}
MANUALS = ("docs/cpctl.1", "docs/cpctl.toml.5")
COMPLETIONS = {"bash": "usr/share/bash-completion/completions/cpctl",
               "zsh": "usr/share/zsh/vendor-completions/_cpctl",
               "fish": "usr/share/fish/vendor_completions.d/cpctl.fish"}
UNITS = ("*.service", "*.socket", "*.target", "*.timer")


def units() -> list[Path]:
    """The units of systemd/."""
    return sorted(file for one in UNITS for file in (ROOT / "systemd").glob(one))


# --- the files -----------------------------------------------------------------------------------


def lay_out(stage: Path, version: str, arch: str, *, dependencies: bool) -> None:
    """All that the package brings, below `stage`."""
    slot = make_release.make_slot(stage / "opt" / "cpctl", version, dependencies=dependencies,
                                  machine=ARCHITECTURES[arch])
    for source, (target, mode) in FILES.items():
        _put(stage / target, (ROOT / source).read_bytes(), mode)
    for folder, (pattern, target) in FOLDERS.items():
        for file in sorted((ROOT / folder).glob(pattern)):
            _put(stage / target / file.name, file.read_bytes())
    for unit in units():
        _put(stage / "usr/lib/systemd/system" / unit.name, unit.read_bytes())
    for manual in MANUALS:
        place = f"usr/share/man/man{manual[-1]}/{Path(manual).name}.gz"
        _put(stage / place, _gzipped((ROOT / manual).read_bytes()))
    for shell, target in COMPLETIONS.items():
        _put(stage / target, _completion(shell))
    _put(stage / DOC / "copyright", copyright_of(slot / "lib", version).encode())
    native = "changelog.Debian.gz" if "-" in version else "changelog.gz"
    _put(stage / DOC / native, _gzipped(_changelog(version)))


def _put(target: Path, content: bytes, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(mode)


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _completion(shell: str) -> bytes:
    return subprocess.run([sys.executable, "-m", "cpctl", "completion", shell], cwd=ROOT,
                          check=True, capture_output=True).stdout


def _changelog(version: str) -> bytes:
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(epoch()))
    return (f"cpctl ({version}) stable; urgency=medium\n\n"
            f"  * Release {version}; {DOC}/README.md says what it does.\n\n"
            f" -- {maintainer()}  {date}\n").encode()


def copyright_of(lib: Path, version: str) -> str:
    """What is under which licence, the libraries by what they say of themselves."""
    head = (DEPLOY / "debian" / "copyright").read_text().replace("@VERSION@", version)
    lines = []
    for about in sorted(lib.glob("*.dist-info")):
        meta = Parser().parsestr((about / "METADATA").read_text(errors="replace"))
        texts = [str(file.relative_to(lib)) for file in sorted(about.rglob("*"))
                 if re.match(r"(?i)(licen[sc]e|copying|notice|authors)", file.name)]
        lines.append(f"  {meta['Name']} {meta['Version']}: {_licence(meta)}"
                     + "".join(f"\n    lib/{text}" for text in texts if "." in text or text))
    return head.replace("@LIBRARIES@", "\n".join(lines) or "  none")


def _licence(meta: Message) -> str:
    named = str(meta.get("License-Expression") or meta.get("License") or "")
    if not named or "\n" in named:
        named = ", ".join(value.rpartition(":: ")[2] for key, value in meta.items()
                          if key == "Classifier" and value.startswith("License ::"))
    return named or "see its text"


# --- what dpkg is told ---------------------------------------------------------------------------


def control(stage: Path, version: str, arch: str) -> None:
    """DEBIAN/ below `stage`: control, scripts and check sums."""
    files = sorted(file for file in stage.rglob("*") if file.is_file())
    size = sum(-(-file.stat().st_size // 1024) for file in files)
    sums = "".join(f"{hashlib.md5(file.read_bytes()).hexdigest()}  {file.relative_to(stage)}\n"
                   for file in files)
    enabled = [unit.name for unit in units() if "\n[Install]\n" in unit.read_text()]
    words = {
        "VERSION": version, "ARCH": arch, "MAINTAINER": maintainer(), "SIZE": str(size),
        "JOURNAL": str(len(JOURNAL)), "STATION": str(len(STATION)),
        "ENABLED": " ".join(enabled),
        "STARTED": " ".join(name for name in enabled if name != "cpctl-safe.service"),
        "STOPPED": " ".join(unit.name for unit in units())}
    _put(stage / "DEBIAN/control", _filled("control", words))
    _put(stage / "DEBIAN/md5sums", sums.encode())
    for name in SCRIPTS:
        _put(stage / "DEBIAN" / name, _filled(name, words), 0o755)


def _filled(name: str, words: Mapping[str, str]) -> bytes:
    text = (DEPLOY / "debian" / name).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text.encode()


def maintainer() -> str:
    return os.environ.get("MAINTAINER", MAINTAINER)


def epoch() -> int:
    """SOURCE_DATE_EPOCH, else the time of the commit, else that of pyproject.toml."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    told = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True,
                          text=True, check=False).stdout.strip()
    return int(told) if told else int((ROOT / "pyproject.toml").stat().st_mtime)


# --- the archive ---------------------------------------------------------------------------------


def make_deb(out: Path, version: str, arch: str, *, dependencies: bool = True,
             compression: str = "xz") -> Path:
    """`<out>/cpctl_<version>_<arch>.deb`. Raises ValueError, OSError, CalledProcessError."""
    if not DEBIAN_VERSION.fullmatch(version):
        raise ValueError(f"version {version!r}: begins with a digit, then letters, digits and "
                         ".+~- only, at most 50 (dpkg knows no others)")
    out.mkdir(parents=True, exist_ok=True)
    package = out / f"cpctl_{version}_{arch}.deb"
    with tempfile.TemporaryDirectory(dir=out, prefix=".deb-") as place:
        stage = Path(place) / "cpctl"
        stage.mkdir()
        lay_out(stage, version, arch, dependencies=dependencies)
        control(stage, version, arch)
        stamp = epoch()
        for path in _all(stage):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (stamp, stamp))
        subprocess.run(["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build",
                        str(stage), str(package)], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "SOURCE_DATE_EPOCH": str(stamp)})
    return package


def _all(stage: Path) -> Iterator[Path]:
    yield from sorted(stage.rglob("*"), reverse=True)
    yield stage


def main() -> int:
    here = libraries.MACHINES.get(os.uname().machine, "amd64")
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--version", default=VERSION, help="default %(default)s")
    words.add_argument("--arch", choices=sorted(ARCHITECTURES), default=here,
                       help="of the station (default: %(default)s)")
    words.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the package")
    words.add_argument("--no-dependencies", action="store_true",
                       help="without libraries: for tests of the package itself")
    words.add_argument("--compression", choices=("xz", "zstd", "gzip", "none"), default="xz")
    asked = words.parse_args()
    if shutil.which("dpkg-deb") is None:
        print("make_deb: no dpkg-deb here; apt install dpkg-dev, or build on Debian",
              file=sys.stderr)
        return 1
    try:
        print(make_deb(asked.out, asked.version, asked.arch,
                       dependencies=not asked.no_dependencies, compression=asked.compression))
    except (OSError, ValueError, subprocess.CalledProcessError) as problem:
        print(f"make_deb: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
