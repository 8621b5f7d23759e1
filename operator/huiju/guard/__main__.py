"""`python -m huiju.guard`: the guard alone."""

import sys

from huiju.guard.program import main

sys.exit(main())
