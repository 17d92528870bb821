"""A faithful Plivo in a box: REST, call engine, XML, signed webhooks, stream client, scripted callers, faults, ledger.

Mounted by sandbox.app; reached by Parley and by the tests only over HTTP and WebSocket.
"""
