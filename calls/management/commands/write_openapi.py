"""``manage.py write_openapi``: writes docs/openapi.json anew, after the API was changed."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from calls.api.document import written


class Command(BaseCommand):
    """A test holds that the file is what the code makes."""

    help = "Writes the API's OpenAPI document to docs/openapi.json."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Prints where it is."""
        path = Path(settings.BASE_DIR) / "docs" / "openapi.json"
        path.write_text(written(), encoding="utf-8")
        self.stdout.write(str(path))
