"""The command ``ckf-airgap``, for a workstation."""

import argparse
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ckf_airgap import __version__
from ckf_airgap.commands import (
    inspect_command,
    mirrors_command,
    pack_command,
    plan_command,
    prune_command,
    push_command,
)
from ckf_airgap.commands.output import Answer, drop_buffer, notice, print_answer
from ckf_airgap.concurrency import use_one_malloc_arena
from ckf_airgap.errors import AirgapError

_BAD_INPUT = 2
_INTERRUPTED = 130
_EPILOG = """exit status:
  0    success
  1    the command ended, but its output lists something that needs attention:
       inspect, push: something in an archive is damaged, has no name, has the same path as
       another image, or is not pushed although it may be an image; each with what to do
       mirrors: an original name that the registry cannot serve, with the reason
       plan --format terraform: a missing charm or image; applications that need it are left out
       prune: something that could not be read or deleted, with the reason
  2    error: standard error says what is wrong and what to do
  130  interrupted

FILE|URL is a file, or the https address of one, which is read as a stream. Name an archive in
parts as if it were one file (images.tar.gz), or name its first part (images.tar.gz.001).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The command-line arguments; None for those of this process.

    Returns:
        The exit status.
    """
    use_one_malloc_arena()
    arguments = make_parser().parse_args(argv)
    try:
        with _terminated_as_interrupted():
            answer: Answer = arguments.run(arguments)
        print_answer(answer.text(arguments.format))
    except AirgapError as error:
        return _ended(f"error: {error}", _BAD_INPUT)
    except BrokenPipeError:
        # The reader of standard error closed it before the command ended.
        drop_buffer(sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        return _ended("interrupted", _INTERRUPTED)
    return answer.status


def _ended(text: str, status: int) -> int:
    """Print why the command ended, unless nobody reads standard error; return the exit status."""
    try:
        notice(text)
    except BrokenPipeError:
        drop_buffer(sys.stderr)
    return status


@contextmanager
def _terminated_as_interrupted() -> Generator[None]:
    """Handle SIGTERM like an interrupt (SIGINT), so that unfinished files are removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    is_ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    if is_ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command, with its sub-commands and their options."""
    parser = argparse.ArgumentParser(
        "ckf-airgap",
        description="Packs, inspects, pushes, plans and prunes releases of Charmed Kubeflow, "
        "without the charm ckf-airgap.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (
        plan_command,
        inspect_command,
        push_command,
        mirrors_command,
        prune_command,
        pack_command,
    ):
        command.define(commands.add_parser)
    return parser
