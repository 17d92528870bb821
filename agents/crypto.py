"""Encryption of stored secrets with MultiFernet: the newest key encrypts, every listed key decrypts."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class UndecryptableError(Exception):
    """A stored secret was encrypted with a key that is no longer listed in ENCRYPTION_KEYS."""


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> str:
    """The text as a Fernet token (ASCII) under the newest key."""
    return _cipher(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode("ascii")


def decrypt(token: str) -> str:
    """The text of a Fernet token.

    Raises:
        UndecryptableError: no listed key fits.
    """
    try:
        return _cipher(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode("ascii")).decode()
    except InvalidToken as error:
        raise UndecryptableError("No key in ENCRYPTION_KEYS decrypts this secret: put the old key back") from error


def rotate(token: str) -> str:
    """The same secret under the newest key.

    Raises:
        UndecryptableError: no listed key fits.
    """
    return encrypt(decrypt(token))
