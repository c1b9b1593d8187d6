"""`python -m tests.system`: the station in an emulated machine (docs/system-test.md)."""

import sys

from tests.system.run import main

if __name__ == "__main__":
    sys.exit(main())
