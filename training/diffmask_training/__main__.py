"""`python -m diffmask_training`."""

import sys

from diffmask_training.cli import main

sys.exit(main())
