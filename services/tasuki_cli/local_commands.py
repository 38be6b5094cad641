"""Commands that need no controller: each imports what it needs when it runs."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tasuki.errors import SettingsError
from tasuki_cli.options import DATA, MOST_ROUNDS, OVERLAP_DAYS, AsJson, Data
from tasuki_cli.service_commands import FAULTS


class Role(StrEnum):
    SITE = "site"
    CONTROLLER = "controller"


class Action(StrEnum):
    SHOW = "show"
    VERIFY = "verify"


def init(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Where the files go.")
    ] = None,
    template: Annotated[
        str, typer.Option("--template", help="What to begin with; --list has them all.")
    ] = "torch",
    list_: Annotated[bool, typer.Option("--list", help="List the templates.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run file and a trainer that train at once, to put your own data into."""
    from tasuki_cli.init import list_templates, run_init

    if list_:
        list_templates(as_json=as_json)
    elif folder is None:
        raise SettingsError("name a folder for the files: tasuki init my-run")
    else:
        run_init(folder, template=template, as_json=as_json)


def simulate(
    run_toml: Annotated[Path, typer.Argument(metavar="RUN.toml", help="What to train.")],
    data: Data = DATA,
    sites: Annotated[int | None, typer.Option(min=0, help="So many sites, site-1 ...")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run begun here.")] = False,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, max=MOST_ROUNDS, help="So many, whatever the file says."),
    ] = None,
    one_process: Annotated[
        bool | None,
        typer.Option("--one-process/--processes", help="For all trainers, or one for each site."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run controller and sites in one process, with no broker: the quickest way to train."""
    from tasuki_cli.simulate_command import run_simulation

    raise typer.Exit(
        run_simulation(
            run_toml,
            data=data,
            sites=sites,
            resume=resume,
            rounds=rounds,
            one_process=one_process,
            as_json=as_json,
            faults=os.environ.get(FAULTS),
        )
    )


def provision(
    federation_toml: Annotated[
        Path, typer.Argument(metavar="FEDERATION.toml", help="Its sites and its broker.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the kits go; kept if there.")] = Path(
        "kits"
    ),
    apply: Annotated[
        bool, typer.Option("--apply", help="Create it all on the running broker too.")
    ] = False,
    admin: Annotated[str, typer.Option("--admin", help="The broker's administrator.")] = "admin",
    admin_password_file: Annotated[
        Path | None, typer.Option("--admin-password-file", help="The administrator's password.")
    ] = None,
    management: Annotated[
        str | None, typer.Option("--management", metavar="URL", help="Other than in the file.")
    ] = None,
    ctl: Annotated[
        str | None,
        typer.Option("--ctl", metavar="COMMAND", help="What leads to the broker's own commands."),
    ] = None,
    reissue: Annotated[
        str | None,
        typer.Option("--reissue", metavar="NAME", help="New password and certificate for it."),
    ] = None,
    revoke: Annotated[
        str | None, typer.Option("--revoke", metavar="SITE", help="Shut this site out.")
    ] = None,
    sign: Annotated[
        list[Path] | None,
        typer.Option("--sign", metavar="REQUEST", help="Of a member; as often as there are any."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Fingerprints of requests were compared: do not ask.")
    ] = False,
    overlap_days: Annotated[
        int,
        typer.Option(min=0, max=3650, help="How long what is renewed stays good; 0: not at all."),
    ] = OVERLAP_DAYS,
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="UID[:GID]", help="Whose the kits are; 10001 for root."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make each site's kit and the broker's files; add only, unless told to renew or revoke."""
    from tasuki_cli.provision import Admin, Changes, run_provision
    from tasuki_cli.provision.asking import ask_whether_compared

    who = Admin(user=admin, password_file=admin_password_file, url=management, ctl=ctl)
    changes = Changes.from_options(
        reissue=reissue, revoke=revoke, sign=sign or (), overlap_days=overlap_days, owner=owner
    )
    code = run_provision(
        federation_toml,
        out=out,
        admin=who if apply else None,
        changes=changes,
        compare=None if yes else ask_whether_compared,
        as_json=as_json,
    )
    raise typer.Exit(code)


def enroll(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The site's name, or: controller.")
    ] = None,
    federation: Annotated[
        str | None, typer.Option("--federation", metavar="NAME", help="Which one to ask.")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="New keys and a password, beside those in use.")
    ] = False,
    install: Annotated[
        Path | None, typer.Option("--install", metavar="ANSWER", help="What was answered.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The member's own folder.")] = Path("kit"),
    as_json: AsJson = False,
) -> None:
    """Make this member's keys here, ask to be let in with them, and install the answer."""
    from tasuki_cli.enrolment.command import run_ask, run_install

    if install is not None:
        if name is not None or federation is not None or renew:
            raise SettingsError("--install takes the answer and --out, and no more")
        run_install(install, folder=out, as_json=as_json)
    elif name is None:
        raise SettingsError("name the member: tasuki enroll site-1 --federation clinics")
    elif renew == (federation is not None):
        raise SettingsError("give either --federation, for a new member, or --renew")
    else:
        run_ask(name, federation=federation, folder=out, as_json=as_json)


def roster(
    action: Annotated[Action, typer.Argument(help="show, or verify that it is the authority's.")],
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A roster.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The roster that these settings go by.")
    ] = None,
    authority: Annotated[
        Path | None, typer.Option("--authority", help="The certificate of who should sign it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show who is a member, with which keys and until when; prove that the authority says so."""
    from tasuki_cli.rosters import run_roster

    run_roster(
        file,
        config=config,
        authority=authority,
        must_be_proved=action is Action.VERIFY,
        as_json=as_json,
    )


def doctor(
    config: Annotated[
        Path, typer.Option("--config", help="The settings of a site or of the controller.")
    ] = Path("site.toml"),
    role: Annotated[
        Role | None, typer.Option("--as", help="Whose settings these are; they say it themselves.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="All that was found, also of what is well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find out what keeps a site or a controller from working, and say what to do about it."""
    from tasuki_cli.doctor import run_doctor

    raise typer.Exit(run_doctor(config, role=role, as_json=as_json, is_verbose=verbose))
