"""``python -m ckf_airgap``: the command without an installation."""

import sys

from ckf_airgap.commands.main import main

sys.exit(main())
