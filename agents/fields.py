"""A model field that keeps its text encrypted in the database and never shows it in an accident."""

from typing import Any

from django.db import models

from agents.crypto import decrypt, encrypt

SERIALISED = "fernet:"


class Secret(str):
    """A secret's text whose repr, as seen in logs and error pages, does not hold it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)" if self else "Secret('')"


def can_be_a_key(text: str) -> bool:
    """Whether a request's header can hold it, and a provider's console could have shown it; true of no text."""
    return text.isascii() and text.isprintable() and " " not in text


class EncryptedTextField(models.TextField):
    """Text stored as a Fernet token; read back as ``Secret``. Not searchable."""

    def from_db_value(self, value: str | None, *_: Any) -> Secret | None:
        """The decrypted text.

        Raises:
            agents.crypto.UndecryptableError: no listed key fits.
        """
        return None if value is None else Secret(decrypt(value)) if value else Secret("")

    def to_python(self, value: Any) -> Secret | None:
        """The text, from plain text or from what ``value_to_string`` wrote."""
        if isinstance(value, str) and value.startswith(SERIALISED):
            return Secret(decrypt(value.removeprefix(SERIALISED)))
        return None if value is None else Secret(value)

    def value_to_string(self, obj: models.Model) -> str:
        """For ``dumpdata``: encrypted as in the database, so that a dump is no list of keys."""
        text = self.value_from_object(obj)
        return SERIALISED + encrypt(str(text)) if text else ""

    def get_prep_value(self, value: Any) -> str | None:
        text = super().get_prep_value(value)
        return encrypt(text) if text else text
