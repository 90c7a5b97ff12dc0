#!/usr/bin/env python3
"""The process that fuzzes the target that FUZZ_TARGET names; its arguments are libFuzzer's.

libFuzzer runs it again by itself, so that it must be a program of its own.
"""

import os
import sys

import atheris  # pyright: ignore[reportMissingImports]

with atheris.instrument_imports(  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    include=["ckf_airgap"]
):
    from tests.fuzz.targets import run

_TARGET = os.environ["FUZZ_TARGET"]

if __name__ == "__main__":
    atheris.Setup(sys.argv, lambda data: run(_TARGET, data))
    atheris.Fuzz()
