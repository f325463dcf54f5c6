"""`python -m diffmask_service` is the command `diffmask`."""

import sys

from diffmask_service.cli import main

if __name__ == "__main__":
    sys.exit(main())
