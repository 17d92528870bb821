"""Moves every stored secret to the newest encryption key. Called by the management command of the same purpose."""

from collections.abc import Iterator
from typing import NamedTuple

from django.apps import apps
from django.db import connection, models, transaction
from django.db.models.functions import Cast

from agents.crypto import UndecryptableError, rotate
from agents.fields import EncryptedTextField

CHUNK = 200


class Rotated(NamedTuple):
    """How one column fared; ``failed`` holds the primary keys of secrets that no listed key decrypts."""

    label: str
    done: int
    failed: list[str]


def encrypted_fields() -> Iterator[tuple[type[models.Model], EncryptedTextField]]:
    """Every encrypted column of every installed model, historical ones included."""
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.concrete_fields:
            if isinstance(field, EncryptedTextField) and field.model is model:
                yield model, field


def rotate_all(*, dry_run: bool) -> list[Rotated]:
    """Encrypts each secret anew, in short transactions of 200 rows; a dry run decrypts and writes nothing.

    A secret that was changed meanwhile is left alone: whoever changed it used the newest key already.
    """
    return [_rotate_column(model, field, dry_run=dry_run) for model, field in encrypted_fields()]


def _rotate_column(model: type[models.Model], field: EncryptedTextField, *, dry_run: bool) -> Rotated:
    done, failed = 0, []
    table, column = connection.ops.quote_name(model._meta.db_table), connection.ops.quote_name(field.attname)
    # SQL, because the field itself only ever gives and takes plain text.
    update = f"UPDATE {table} SET {column} = %s WHERE {column} = %s"  # noqa: S608  (names of our own models)
    for chunk in _chunks(model, field):
        with transaction.atomic(), connection.cursor() as cursor:
            for pk, token in chunk:
                try:
                    fresh = rotate(token)
                except UndecryptableError:
                    failed.append(str(pk))
                    continue
                if not dry_run:
                    cursor.execute(update, [fresh, token])
                done += 1
    return Rotated(f"{model._meta.label}.{field.name}", done, failed)


def _chunks(model: type[models.Model], field: EncryptedTextField) -> Iterator[list[tuple[object, str]]]:
    """Primary keys and stored tokens of the non-empty column, 200 at a time, in the order of the keys."""
    raw = Cast(models.F(field.name), output_field=models.TextField())
    rows = model._base_manager.annotate(stored_token=raw).exclude(stored_token="").exclude(stored_token=None)
    rows = rows.order_by("pk")
    last: object = None
    while True:
        page = rows if last is None else rows.filter(pk__gt=last)
        chunk = list(page.values_list("pk", "stored_token")[:CHUNK])
        if not chunk:
            return
        yield chunk
        last = chunk[-1][0]
