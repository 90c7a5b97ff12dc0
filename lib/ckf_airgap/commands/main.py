"""The command ``ckf-airgap`` for a workstation, which needs no cluster."""

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
from ckf_airgap.commands.output import Answer, notice, print_answer
from ckf_airgap.concurrency import use_one_malloc_arena
from ckf_airgap.errors import AirgapError

_BAD_INPUT = 2
_INTERRUPTED = 130
_EPILOG = """exit status:
  0  done
  1  mirrors: the registry does not answer to a name; it is listed with the reason.
     plan --format terraform: charms or images are missing; what needs them is left out.
     inspect, push: something in an archive is damaged, has no name, or is not pushed although it
     may be an image; all of it is listed with what to do
     prune: something was left alone; it is listed with the reason
  2  it could not be done; what is wrong and what to do about it is on standard error

FILE|URL is a file, or the https address of one, which is read as a stream. An archive in parts is
named without their numbers, or by its first part.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: Its arguments; None for those of this process.

    Returns:
        The exit status.
    """
    use_one_malloc_arena()
    arguments = make_parser().parse_args(words)
    try:
        with _terminated_as_interrupted():
            answer: Answer = arguments.run(arguments)
        print_answer(answer.text(arguments.format))
    except AirgapError as error:
        notice(f"error: {error}")
        return _BAD_INPUT
    except BrokenPipeError:
        # The reader of the output closed it.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        notice("interrupted")
        return _INTERRUPTED
    return answer.status


@contextmanager
def _terminated_as_interrupted() -> Generator[None]:
    """Handle SIGTERM like an interrupt, which removes unfinished files."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    is_ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    if is_ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command, with its sub-commands and their options."""
    parser = argparse.ArgumentParser(
        "ckf-airgap",
        description="Charmed Kubeflow for air-gapped clusters: what the charm of this name does, "
        "on a workstation.",
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
