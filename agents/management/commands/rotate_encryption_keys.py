"""``manage.py rotate_encryption_keys``: after a new key was put first in ENCRYPTION_KEYS, moves all secrets to it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.rotation import rotate_all


class Command(BaseCommand):
    """Prints counts only; never a secret."""

    help = (
        "Encrypts every stored secret with the first of ENCRYPTION_KEYS. Afterwards the old keys can be removed. "
        "Order: put the new key first, restart every process, run this, remove the old key, restart."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """One switch."""
        parser.add_argument("--dry-run", action="store_true", help="only look whether every secret can be decrypted")

    def handle(self, *_args: Any, dry_run: bool, **_options: Any) -> None:
        """Exit status 1 when a secret could not be decrypted."""
        verb = "can be rotated" if dry_run else "rotated"
        failed = 0
        for column in rotate_all(dry_run=dry_run):
            self.stdout.write(f"{column.label}: {column.done} {verb}")
            failed += len(column.failed)
            for pk in column.failed:
                self.stderr.write(f"{column.label} of {pk}: no key in ENCRYPTION_KEYS decrypts it")
        if failed:
            raise CommandError(f"{failed} secrets could not be decrypted: put their old key back, or enter them again")
