"""``manage.py install_starters``: two agents to begin with, and on request one that runs on the sandbox."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import starters


class Command(BaseCommand):
    """Can be run again: agents that exist are left as they are."""

    help = "Creates the starter agents (front desk, appointment reminder) where they do not exist."

    def add_arguments(self, parser: CommandParser) -> None:
        """One option."""
        parser.add_argument("--sandbox", metavar="URL", help="also make an agent for the sandbox at this address")

    def handle(self, *_args: Any, sandbox: str | None, **_options: Any) -> None:
        """Prints the agents' names."""
        try:
            agents = starters.install()
            if sandbox:
                agents.append(starters.install_sandbox(sandbox))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        for agent in agents:
            self.stdout.write(agent.name)
