"""The command ``ckf-airgap``, one module for each of its sub-commands."""
