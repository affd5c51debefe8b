"""`python -m captum.benchmark`: the same as `captum benchmark`."""

import sys

from captum.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
