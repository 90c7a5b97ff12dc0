"""``python -m ckf_airgap``: the command without an installation."""

import sys

from ckf_airgap.cli import main

sys.exit(main())
