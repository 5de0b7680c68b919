"""What is installed: the parts of one program, and the places of its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from installation.machine import Machine


@dataclass(frozen=True, slots=True)
class Program:
    """One of the two programs as the installer sees it. `needs` are modules that must import."""

    key: str
    command: str
    extras: tuple[str, ...]
    needs: tuple[str, ...]
    shared_files: Mapping[str, str]
    """File below `share/packline` of the slot -> where it goes."""
    rules_folder: str
    """Folder of `firmware_configs` with udev rules, "" = none."""
    settings_path: str
    settings_text: Callable[[Mapping[str, str]], str]
    """The first settings file, from what was asked on the command line."""
    asked: Mapping[str, str]
    """Options that fill it: name -> what it means; those with "*" are needed the first time."""
    secret_paths: tuple[str, ...] = ()
    """Files with a secret, made empty (0600) so that the unit can hand them over."""
    prepare: Callable[[Machine, Program, Mapping[str, str]], None] | None = None
    """After the files, before the service starts."""
    welcome: Callable[[Machine, Program, Mapping[str, str]], None] | None = None
    """After the service started: what the person does next."""

    @property
    def home(self) -> str:
        """Folder of the program's slots."""
        return f"/opt/packline/{self.key}"

    @property
    def unit(self) -> str:
        """Name of the service."""
        return f"packline-{self.key}.service"

    @property
    def group(self) -> str:
        """The user and group it runs as."""
        return f"packline-{self.key}"

    @property
    def binary(self) -> str:
        """The command of the slot in use."""
        return f"{self.home}/current/bin/{self.command}"

    @property
    def launcher(self) -> str:
        """What people type: the command in their path, with this installation's settings."""
        return f"/usr/local/bin/{self.command}"

    @property
    def launcher_text(self) -> str:
        """The launcher, a shell script."""
        variable = f"PACKLINE_{self.key.upper()}_CONFIG"
        return (
            "#!/bin/sh\n"
            f': "${{{variable}:={self.settings_path}}}"\n'
            f"export {variable}\n"
            f'exec {self.binary} "$@"\n'
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Where the packages come from: a wheelhouse with hashes, or a wheel and pip's own settings."""

    wheelhouse: Path | None = None
    wheel: Path | None = None
