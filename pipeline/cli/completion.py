"""`tagf completion`."""

from __future__ import annotations

import click

# As `click.shell_completion` derives it from the name of the program.
_VARIABLE = "_TAGF_COMPLETE"


@click.command("completion")
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what makes a shell complete the commands, options, choices, heads and files of `tagf`.

    The first two lines below belong into ~/.bashrc and ~/.zshrc (there after compinit).

    \b
    Examples:
        eval "$(tagf completion bash)"
        eval "$(tagf completion zsh)"
        tagf completion fish > ~/.config/fish/completions/tagf.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    root = click.get_current_context().find_root()
    assert found is not None
    made = found(root.command, {}, "tagf", _VARIABLE)
    # Not `source()`, which for bash asks the one at hand for its version: it may be made for another machine.
    click.echo((made.source_template % made.source_vars()).strip())
