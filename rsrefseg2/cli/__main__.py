"""`python -m rsrefseg2.cli COMMAND ...` is `rsrefseg2 COMMAND ...`, where no script is installed."""

import sys

from .commands import main

sys.exit(main())
