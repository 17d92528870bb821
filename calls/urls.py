"""Plivo's addresses, mounted under ``/plivo/``. Nothing else here, since these are exempt from CSRF."""

from django.urls import path

from calls import webhooks

urlpatterns = [
    path("answer/", webhooks.answer),
    path("hangup/", webhooks.hangup),
    path("fallback/", webhooks.fallback),
    path("calls/<uuid:public_id>/answer/", webhooks.call_answer),
    path("calls/<uuid:public_id>/after-stream/", webhooks.after_stream),
    path("calls/<uuid:public_id>/ring/", webhooks.ring),
    path("calls/<uuid:public_id>/hangup/", webhooks.hangup),
    path("calls/<uuid:public_id>/machine/", webhooks.machine),
    path("calls/<uuid:public_id>/recording/", webhooks.recording),
    path("calls/<uuid:public_id>/stream-status/", webhooks.stream_status),
    path("calls/<uuid:public_id>/dial/", webhooks.dial),
    path("calls/<uuid:public_id>/digits/", webhooks.digits),
    path("calls/<uuid:public_id>/fallback/", webhooks.fallback),
]
