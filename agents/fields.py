"""A model field that keeps its text encrypted in the database and never shows it in an accident."""

from typing import Any

from django.db import models

from agents.crypto import decrypt, encrypt


class Secret(str):
    """A secret's text whose repr, as seen in logs and error pages, does not hold it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)" if self else "Secret('')"


class EncryptedTextField(models.TextField):
    """Text stored as a Fernet token; read back as ``Secret``. Not searchable."""

    def from_db_value(self, value: str | None, *_: Any) -> Secret | None:
        """The decrypted text.

        Raises:
            agents.crypto.UndecryptableError: no listed key fits.
        """
        return None if value is None else Secret(decrypt(value)) if value else Secret("")

    def to_python(self, value: Any) -> Secret | None:
        return None if value is None else Secret(value)

    def get_prep_value(self, value: Any) -> str | None:
        text = super().get_prep_value(value)
        return encrypt(text) if text else text
