"""`python -m cpctl` is `cpctl`."""

import sys

from cpctl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
