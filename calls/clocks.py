"""Does this machine's clock show what the database's does? Hours for calls are kept by each machine's own."""

import time

from django.db import connection

MOST_S = 5.0  # of a difference


def ahead_s() -> float:
    """Seconds by which this machine is ahead of the database; SQLite has the same clock."""
    if connection.vendor != "postgresql":
        return 0.0
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        shown = float(cursor.fetchone()[0])
    return (before + time.time()) / 2 - shown


def trouble() -> str:
    """Why this machine must not call anybody, for an operator; empty when its clock is right."""
    ahead = ahead_s()
    if abs(ahead) <= MOST_S:
        return ""
    return f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the database's"
