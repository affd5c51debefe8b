"""`python -m captum`: the command line."""

import sys

from captum.cli import main

if __name__ == "__main__":
    sys.exit(main())
