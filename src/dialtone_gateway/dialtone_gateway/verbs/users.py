"""``dialtone users``: who may log in at the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError

users = typer.Typer(
    no_args_is_help=True, help="Accounts of the gateway: list, add, change, remove."
)

_Name = Annotated[str, typer.Argument(help="User name.")]
_Role = Annotated[str, typer.Option(help="viewer looks, operator drives, admin may all.")]
_Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
]


@users.command("ls")
def ls() -> None:
    """List the accounts and their roles."""
    from dialtone_core.paths import make_state_dir
    from dialtone_gateway.auth.accounts import Accounts

    for name, role in Accounts(make_state_dir("gateway")).users().items():
        console.print(f"{name:40} {role.text}", highlight=False)


@users.command("add")
def add(name: _Name, role: _Role = "operator", password_stdin: _Stdin = False) -> None:
    """Add an account, or give one a new password and role. A running gateway follows at once.

    Exit codes: 0, or 2 where name, role or password is not usable.
    """
    from dialtone_core.paths import make_state_dir
    from dialtone_gateway.auth.accounts import Accounts, check_user
    from dialtone_gateway.roles import Role

    check_user(name)
    try:
        wanted = Role.parse(role)
    except ValueError as error:
        raise DialtoneError(str(error), fix="give --role viewer, operator or admin") from error
    if password_stdin:
        password = typer.get_text_stream("stdin").readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    Accounts(make_state_dir("gateway")).put(name, password, wanted)
    console.print(f"{name} is {wanted.text}", highlight=False)


@users.command("rm")
def rm(name: _Name) -> None:
    """Remove an account; what it has open ends within seconds.

    Exit codes: 0, or 2 where there is none of that name.
    """
    from dialtone_core.paths import make_state_dir
    from dialtone_gateway.auth.accounts import Accounts

    Accounts(make_state_dir("gateway")).remove(name)
    console.print(f"{name} is gone", highlight=False)
