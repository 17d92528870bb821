"""Signed webhooks out: what happened is posted to addresses that operators have entered.

``events`` writes deliveries in the transaction of the fact, ``deliveries`` sends what is due, ``destinations`` says
where may be sent to and ``posting`` makes the one request.
"""
