"""Print the interpreter the virtual environment is made with: 3.11 to 3.13, venv included.

Usage: find_python.py PREFERRED. Exit 1 with the next step when there is none.
"""

import shutil
import subprocess
import sys

PROBE = "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"


def works(candidate: str) -> bool:
    path = shutil.which(candidate)
    if path is None:
        return False
    return subprocess.run([path, "-c", PROBE], capture_output=True, check=False).returncode == 0


def main() -> int:
    for candidate in (sys.argv[1], "python3.11", "python3.12", "python3.13", "python3"):
        if works(candidate):
            print(shutil.which(candidate))
            return 0
    print("no python 3.11, 3.12 or 3.13 with venv found; install one (apt install python3-venv)",
          file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
