"""The command line: one module for each command, loaded on call; an error becomes one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from pruneguard import __version__
from pruneguard.cli.printable import printable
from pruneguard.errors import PruneguardError
from pruneguard.runs.interrupt import terminable

COMMANDS = ("demo", "prune", "train", "export", "audit", "verify", "generate", "concepts")

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EFBIG: "a file would pass the size limit: raise it (ulimit -f), then run the same command again",
    errno.EACCES: "permission denied: choose another folder or change its permissions",
    errno.EPERM: "not permitted: choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only: choose another folder",
}

_TRAIN = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "jinja2", "matplotlib", "tomli_w")
_EXTRAS = {**dict.fromkeys(_TRAIN, "train"), "onnx": "export", "onnxscript": "export", "onnxruntime": "cpu"}


class CommandGroup(click.Group):
    """Imports a command's module on the first use of that command, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands in the order of their first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command `name` of module `pruneguard.cli.<name>`."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pruneguard.cli.{name}").command
        return command


@click.group(cls=CommandGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pruneguard")
@click.pass_context
def pruneguard(context: click.Context) -> None:
    """Prune a diffusion model, make it forget, prove both, and serve it from an engine."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for an error, 2 for wrong usage, 130 when stopped."""
    try:
        with terminable():
            pruneguard.main(arguments, prog_name="pruneguard", standalone_mode=False)
        return 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        return _fail(_usage(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        return _fail(str(error) or "stopped; nothing was left half written; give the same command again to go on", 130)
    except Exception as error:
        if os.environ.get("PRUNEGUARD_DEBUG"):
            traceback.print_exc()
        return _fail(_explain(error), 1)


def _usage(error: click.ClickException) -> str:
    """Click's message in one line; its own way of showing it takes four."""
    message = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message} (`{context.command_path} --help` says more)" if context else message


def _explain(error: Exception) -> str:
    if isinstance(error, PruneguardError):
        return f"{' '.join(str(error).split())} [{error.code}]"
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get(str(error.name).partition(".")[0])):
        return f"{error.name} is not installed; run `pip install 'pruneguard[{extra}]'`"
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{_REMEDIES[error.errno]}"
    lines = str(error).strip().splitlines() or [""]
    return f"unexpected {type(error).__name__}: {lines[0]} (set PRUNEGUARD_DEBUG=1 to see where)"


def _fail(message: str, code: int) -> int:
    click.echo(click.style("error: ", fg="red", bold=True) + printable(message), err=True)
    return code
