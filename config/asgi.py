"""The ASGI application: HTTP to Django, WebSockets to the live calls."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

application = ProtocolTypeRouter({"http": django_application})
