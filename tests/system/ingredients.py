"""What an emulated station is made of, built once: kernel, gpio-sim, root tree, initramfs, disk.

All of it lies in a cache folder (`.system` in the checkout, or CPCTL_SYSTEM_CACHE), in a folder
named after the kernel's version and everything else it depends on. Packages come from apt with the
machine's own settings; nothing else is downloaded. Needs root and Debian 12.

Debian's kernels have no simulated GPIO chip; it is built out of tree from Debian's own source, with
two changes: as on a Raspberry Pi an output keeps its level when the process that held it dies
(parameter `persist`), and what is wired to an input outweighs the pull that a program asks for
(parameter `stiff`).
"""

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.say import NotPossible, say

ROOT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).resolve().parent / "guest"

TOOLS = ("qemu-system-x86", "qemu-utils", "mmdebstrap", "e2fsprogs", "kmod", "cpio",
         "busybox-static", "gcc", "libc6-dev", "make", "xz-utils", "linux-source-6.1")
#: What the Debian packages of the image are; what the .deb depends on is among them, so that apt
#: installs it without a network.
PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "kmod", "adduser", "ca-certificates",
            "iproute2", "procps", "pcscd", "libccid", "libpcsclite1", "polkitd", "python3",
            "python3-pyscard", "python3-systemd", "libsystemd0", "util-linux", "gpiod")
MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "virtio_console", "virtio_net",
           "virtio_rng", "xhci_pci", "xhci_hcd", "ftdi_sio", "i6300esb", "configfs", "autofs4",
           "af_packet")
FORMAT = 1  # raise it when the tree is built in another way
FOR_ROOT = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
DISK_MB = 2000
LIMIT_S = 900.0  # for one step, downloads among them
APT = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")


@dataclass(frozen=True)
class Ingredients:
    kernel: Path
    initrd: Path
    disk: Path  # raw, never written: machines lay their own over it


def cache() -> Path:
    return Path(os.environ.get("CPCTL_SYSTEM_CACHE") or ROOT / ".system").resolve()


def ingredients() -> Ingredients:
    """All there is to boot from, built where it is not there yet. Raises NotPossible."""
    _check_host()
    _install_tools()
    version = _kernel_version()
    made = _ingredients(version)
    tree = made.kernel.parent / "root"
    if not made.initrd.exists():
        say(f"building the machine's ingredients in {tree.parent} (about a minute)")
        _build(tree.parent, version, made)
    if not made.disk.exists():
        say("the disk")
        for old in tree.parent.glob("disk-*"):
            old.unlink()
        _furnish(tree)
        unfinished = made.disk.with_suffix(".new")
        run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, "-F", unfinished,
             f"{DISK_MB}M"])
        unfinished.rename(made.disk)
    return made


def _ingredients(version: str) -> Ingredients:
    """Where they are or will be; the names change with whatever they are made of."""
    tree = repr((FORMAT, PACKAGES, MODULES, FOR_ROOT, CHANGES, INIT)).encode()
    guest = b"".join(file.read_bytes() for file in sorted(GUEST.iterdir()) if file.is_file())
    folder = cache() / f"{version}-{hashlib.sha256(tree).hexdigest()[:12]}"
    guest += repr((MASKED, TEXTS)).encode()
    disk = f"disk-{hashlib.sha256(guest).hexdigest()[:12]}.img"
    return Ingredients(folder / "vmlinux", folder / "initrd", folder / disk)


# --- the machine that tests ----------------------------------------------------------------------


def _check_host() -> None:
    words = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    if "VERSION_CODENAME=bookworm" not in words:
        raise NotPossible("the image is built with the packages of Debian 12; this is another one")
    if os.geteuid() != 0:
        raise NotPossible("building the image needs root (apt, owners of files); run it as root")


def run(words: Sequence[str | Path], **more: object) -> str:
    """Run a program and return what it wrote; a failure says what it said. Raises NotPossible."""
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                              check=False, timeout=LIMIT_S, **more)  # type: ignore[call-overload]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotPossible(f"{words[0]}: {error}") from error
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip()[-1500:]
        raise NotPossible(f"{' '.join(map(str, words))[:200]} failed: {told}")
    return str(done.stdout)


def _installed(package: str) -> bool:
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True,
                          text=True, check=False)
    return done.stdout == "install ok installed"


def _install_tools() -> None:
    missing = [package for package in TOOLS if not _installed(package)]
    if missing:
        say(f"installing {' '.join(missing)}")
        run([*APT, "update"])
        run([*APT, "install", "-y", "--no-install-recommends", *missing],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    headers = f"linux-headers-{_kernel_version()}"
    if not _installed(headers):
        say(f"installing {headers}")
        run([*APT, "install", "-y", "--no-install-recommends", headers],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def _kernel_version() -> str:
    """The kernel that Debian means by linux-image-amd64, as "6.1.0-NN-amd64"."""
    words = run(["apt-cache", "depends", "linux-image-amd64"])
    found = re.search(r"linux-image-(6\.1\.\d+-\d+-amd64)", words)
    if not found:
        raise NotPossible("apt knows no kernel 6.1 of Debian 12 (apt-get update?)")
    return found[1]


# --- building ------------------------------------------------------------------------------------


def _build(folder: Path, version: str, made: Ingredients) -> None:
    work = folder / "work"
    shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    say(f"kernel {version}")
    kernel = _unpack_kernel(work, version)
    _build_gpio_sim(work, kernel, version)
    say("root tree: Debian 12 with systemd and pcscd")
    root = _root_tree(work)
    closure = _closure(kernel, version, (*MODULES, "gpio-sim"))
    _copy_modules(kernel, root, version, closure)
    _cut_vmlinux(kernel / "boot" / f"vmlinuz-{version}", made.kernel)
    _make_initrd(work, kernel, version)
    root.rename(folder / "root")
    (work / "initrd.cpio").rename(made.initrd)  # last: it says that all the rest is there
    shutil.rmtree(work)


def _unpack_kernel(work: Path, version: str) -> Path:
    package = f"linux-image-{version}"
    run([*APT, "-o", "APT::Sandbox::User=root", "download", package], cwd=work)
    kernel = work / "kernel"
    run(["dpkg-deb", "-x", next(work.glob("linux-image-*.deb")), kernel])
    return kernel


PARAMETERS = '''
static bool persist = true;
module_param(persist, bool, 0644);
MODULE_PARM_DESC(persist, "an output keeps its level when it is let go");
static bool stiff = true;
module_param(stiff, bool, 0644);
MODULE_PARM_DESC(stiff, "what is wired to an input outweighs the pull that a program asks for");

'''


CHANGES = (
    ("static int gpio_sim_set_config(", f"{PARAMETERS}static int gpio_sim_set_config("),
    ("return gpio_sim_apply_pull(chip, offset, 1);",
     "return stiff ? 0 : gpio_sim_apply_pull(chip, offset, 1);"),
    ("return gpio_sim_apply_pull(chip, offset, 0);",
     "return stiff ? 0 : gpio_sim_apply_pull(chip, offset, 0);"),
    ("\tmutex_lock(&chip->lock);\n\t__assign_bit(offset, chip->value_map, "
     "!!test_bit(offset, chip->pull_map));",
     "\tif (persist)\n\t\treturn;\n\tmutex_lock(&chip->lock);\n\t__assign_bit(offset, "
     "chip->value_map, !!test_bit(offset, chip->pull_map));"),
)


def _build_gpio_sim(work: Path, kernel: Path, version: str) -> None:
    """The simulated chip, and the software interrupts it needs, as modules of their own."""
    build = work / "gpio-sim"
    build.mkdir()
    names = {"drivers/gpio/gpio-sim.c", "drivers/gpio/gpiolib.h", "kernel/irq/irq_sim.c"}
    run(["tar", "-xJf", "/usr/src/linux-source-6.1.tar.xz", "-C", build, "--strip-components=3",
         *(f"linux-source-6.1/{name}" for name in sorted(names))])
    simulated = (build / "irq_sim.c").read_text()
    # irq_to_desc is not exported to modules; this does the same and is
    simulated = simulated.replace("handle_simple_irq(irq_to_desc(irqnum))",
                                  "generic_handle_irq(irqnum)")
    (build / "irq_sim.c").write_text(
        f'#include <linux/module.h>\n{simulated}\nMODULE_LICENSE("GPL");\n')
    chip = (build / "gpio-sim.c").read_text()
    for old, new in CHANGES:
        if chip.count(old) != 1:
            raise NotPossible(f"gpio-sim.c of this kernel is another one ({old!r}); adapt "
                              "tests/system/ingredients.py")
        chip = chip.replace(old, new)
    (build / "gpio-sim.c").write_text(chip)
    (build / "Makefile").write_text(
        "obj-m := gpio-sim.o irq_sim.o\nccflags-y := -DCONFIG_IRQ_SIM=1\n")
    run(["make", "-C", f"/usr/src/linux-headers-{version}", f"M={build}", "modules"])
    extra = kernel / "lib" / "modules" / version / "extra"
    extra.mkdir()
    for module in build.glob("*.ko"):
        shutil.copy(module, extra)
    run(["depmod", "-b", kernel, version])


def _root_tree(work: Path) -> Path:
    tree = work / "root"
    packed = work / "root.tar"
    run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}",
         "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
         "bookworm", packed, *(["-"] if _sources() else [])], input=_sources())
    tree.mkdir()
    run(["tar", "--numeric-owner", "-xpf", packed, "-C", tree])
    packed.unlink()
    return tree


def _sources() -> str:
    """Debian's own entries among the sources of this machine, for the root tree."""
    found = []
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for file in places:
        if not file.is_file() or file.suffix not in (".list", ".sources"):
            continue
        for part in re.split(r"\n\s*\n", file.read_text()) if file.suffix == ".sources" else \
                file.read_text().splitlines():
            if "debian" in part and "bookworm" in part and not part.strip().startswith("deb-src"):
                found.append((file.suffix, part.strip()))
    lines = [part for suffix, part in found if suffix == ".list" and part.startswith("deb ")]
    for suffix, part in found:
        if suffix == ".sources":
            lines += _as_lines(part)
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _as_lines(stanza: str) -> list[str]:
    """A deb822 stanza as lines of sources.list."""
    fields = dict(re.findall(r"^([A-Za-z-]+):\s*(.+)$", stanza, re.MULTILINE))
    if "deb" not in fields.get("Types", "").split() or fields.get("Enabled") == "no":
        return []
    signed = f"[signed-by={fields['Signed-By']}] " if "Signed-By" in fields else ""
    return [f"deb {signed}{uri} {suite} {fields.get('Components', 'main')}"
            for uri in fields.get("URIs", "").split() for suite in fields["Suites"].split()
            if suite.startswith("bookworm")]


def _closure(kernel: Path, version: str, wanted: Sequence[str]) -> list[str]:
    """Files of the modules and of all they need, in the order of loading; built-in ones are not
    among them."""
    needs: dict[str, list[str]] = {}
    for line in (kernel / "lib/modules" / version / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[file] = rest.split()
    by_name = {Path(file).name.split(".")[0].replace("-", "_"): file for file in needs}
    order: list[str] = []

    def add(file: str) -> None:
        if file not in order:
            for needed in reversed(needs[file]):
                add(needed)
            order.append(file)

    for name in wanted:
        if (file := by_name.get(name.replace("-", "_"))) is not None:
            add(file)
    return order


def _copy_modules(kernel: Path, root: Path, version: str, files: Sequence[str]) -> None:
    source, target = (base / "lib/modules" / version for base in (kernel, root))
    target.mkdir(parents=True, exist_ok=True)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(source / name, target / name)
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / file, target / file)
    run(["depmod", "-b", root, version])


MASKED = (  # nothing that a station needs, and each takes its time where all is emulated
    "getty@tty1.service", "serial-getty@ttyS0.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "fstrim.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "dpkg-db-backup.timer", "systemd-timesyncd.service", "systemd-firstboot.service",
    "ldconfig.service", "systemd-logind.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "getty.target", "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service", "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.mount", "proc-sys-fs-binfmt_misc.automount",
    "modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@dm_mod.service",
    "modprobe@loop.service", "modprobe@drm.service", "dev-mqueue.mount",
    "sys-kernel-debug.mount", "dev-hugepages.mount",
)
TEXTS = {
    "etc/hostname": "station\n",
    "etc/hosts": "127.0.0.1 localhost station\n",
    "etc/machine-id": hashlib.sha256(b"cpctl system test").hexdigest()[:32] + "\n",
    "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
    "etc/modules-load.d/bench.conf": "gpio-sim\nvirtio_console\nconfigfs\n",
    "etc/systemd/journald.conf.d/bench.conf": "[Journal]\nStorage=volatile\n"
                                              "RateLimitIntervalSec=0\n",
    "etc/sysctl.d/bench.conf": "kernel.panic = 5\n",
    "etc/apt/sources.list": "",
    "etc/resolv.conf": "",
}


def _furnish(root: Path) -> None:
    """The hands of the test inside the machine, and as little else running as possible."""
    bench = root / "opt" / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    run(["gcc", "-O2", "-static", "-Wall", "-Werror", "-o", bench / "hands", GUEST / "hands.c"])
    for file in (*GUEST.glob("*.py"), GUEST / "point"):
        shutil.copy(file, bench)
    units = root / "etc" / "systemd" / "system"
    (units / "modprobe@.service").unlink(missing_ok=True)
    for file in GUEST.glob("*.service"):
        shutil.copy(file, units)
        wants = units / "sysinit.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / file.name).unlink(missing_ok=True)
        (wants / file.name).symlink_to(f"../{file.name}")
    for unit in MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for name, text in TEXTS.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
{insmods}
tries=0
until [ -b /dev/vda ] || [ $tries -gt 200 ]; do tries=$((tries+1)); /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root || /bin/busybox reboot -f
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


def _make_initrd(work: Path, kernel: Path, version: str) -> None:
    """busybox and the modules of the disk: udev and the rest of the modules wait for the root."""
    tree = work / "initrd"
    for folder in ("bin", "dev", "proc", "root", "m"):
        (tree / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    lines = []
    for file in _closure(kernel, version, FOR_ROOT):
        shutil.copy(kernel / "lib/modules" / version / file, tree / "m")
        lines.append(f"/bin/busybox insmod /m/{Path(file).name}")
    (tree / "init").write_text(INIT.format(insmods="\n".join(lines)))
    (tree / "init").chmod(0o755)
    names = "\n".join(str(file.relative_to(tree)) for file in sorted(tree.rglob("*")))
    packed = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(),
                            cwd=tree, capture_output=True, check=True)
    (work / "initrd.cpio").write_bytes(packed.stdout)


def _cut_vmlinux(compressed: Path, out: Path) -> None:
    """The plain kernel out of the compressed one: boots seconds sooner where all is emulated."""
    content = compressed.read_bytes()
    start = content.index(b"\xfd7zXZ\x00")
    plain = lzma.LZMADecompressor().decompress(content[start:])
    out.write_bytes(plain)


if __name__ == "__main__":
    try:
        say(str(ingredients()))
    except NotPossible as why:
        print(f"system test: {why}", file=sys.stderr)
        sys.exit(1)
