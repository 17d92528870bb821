"""URLs of the web role; the health addresses, which every role answers, are ``config/health.py``'s."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from calls.api import urls as api
from calls.recording_views import recording_audio
from streaming import pages

# Looked up at the request: the name carries a hash that `collectstatic`, which imports this module, has yet to make.
favicon_url = lazy(static, str)("agents/favicon.ico")

urlpatterns = [
    path("favicon.ico", RedirectView.as_view(url=favicon_url)),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/agents/agent/<uuid:agent_id>/talk/", pages.talk, name="talk_to_agent"),
    path("admin/", admin.site.urls),
    path("recordings/<uuid:recording_id>/", recording_audio, name="recording_audio"),
    path("plivo/", include("calls.urls")),
    path("api/v1/", api.urls),
]
