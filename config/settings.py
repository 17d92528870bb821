"""Django's settings, all derived from ``config/env.py``; nothing here reads the environment by itself."""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from config.celery_schedule import CELERY
from config.databases import database
from config.env import BASE_DIR, env, fernet_keys, public_url, redis_url, secret, stream_url, var_dir
from config.logging import LOGGING  # noqa: F401  (a setting)
from config.navigation import NAVIGATION

PRODUCTION: bool = env("PRODUCTION")
DEBUG: bool = env("DEBUG")
TRUST_PROXY: bool = env("TRUST_PROXY")
ALLOW_UNSIGNED: bool = env("ALLOW_UNSIGNED")
STREAM_SIGNATURE: str = env("STREAM_SIGNATURE")
if PRODUCTION and (DEBUG or ALLOW_UNSIGNED):
    raise ImproperlyConfigured("PRODUCTION=true does not start with DEBUG or ALLOW_UNSIGNED: unset them")
if STREAM_SIGNATURE not in {"required", "token"}:
    raise ImproperlyConfigured("STREAM_SIGNATURE must be 'required' or 'token'")

VAR_DIR = var_dir()
PHRASES_DIR = Path(env("PHRASES_DIR") or VAR_DIR / "phrases")
SECRET_KEY = secret("SECRET_KEY")
ENCRYPTION_KEYS: list[str] = fernet_keys()
SUPPRESSION_KEY = secret("SUPPRESSION_KEY")

PUBLIC_URL = public_url()
STREAM_URL = stream_url()
_public = urlsplit(PUBLIC_URL)
_secure = _public.scheme == "https"
ALLOWED_HOSTS = [_public.hostname or "127.0.0.1", "127.0.0.1", "localhost", "[::1]", *env("ALLOWED_HOSTS")]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]

PLIVO_API_URL: str = env("PLIVO_API_URL").rstrip("/")
PLIVO_AUTH_ID: str = env("PLIVO_AUTH_ID")
PLIVO_AUTH_TOKEN: str = env("PLIVO_AUTH_TOKEN")
if PLIVO_AUTH_ID and not re.fullmatch("(MA|SA)[A-Z0-9]{18}", PLIVO_AUTH_ID):
    raise ImproperlyConfigured("PLIVO_AUTH_ID must be MA or SA and 18 capital letters or digits: see Plivo's console")
if bool(PLIVO_AUTH_ID) != bool(PLIVO_AUTH_TOKEN):
    raise ImproperlyConfigured("PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN belong together: set both or neither")
OPENAI_BASE_URL: str = env("OPENAI_BASE_URL").rstrip("/")
OPENAI_API_KEY: str = env("OPENAI_API_KEY")
ELEVENLABS_BASE_URL: str = env("ELEVENLABS_BASE_URL").rstrip("/")
ELEVENLABS_API_KEY: str = env("ELEVENLABS_API_KEY")
PROVIDER_CLOCK_SCALE: float = env("PROVIDER_CLOCK_SCALE")
MAX_LIVE_CALLS: int = env("MAX_LIVE_CALLS")
TURN_MODEL: bool = env("TURN_MODEL")
DRAIN_SECONDS: int = env("DRAIN_SECONDS")
APPROVAL_ABOVE: int = env("APPROVAL_ABOVE")
if APPROVAL_ABOVE < 0:
    raise ImproperlyConfigured("APPROVAL_ABOVE must be 0 or more: it is a number of people")
WEBHOOK_RETENTION_DAYS: int = env("WEBHOOK_RETENTION_DAYS")
if WEBHOOK_RETENTION_DAYS < 1:
    raise ImproperlyConfigured("WEBHOOK_RETENTION_DAYS must be at least 1: today's webhooks are still needed")
METRICS_TOKEN: str = env("METRICS_TOKEN")
REDIS_URL = redis_url()

INSTALLED_APPS = [
    "config.daphne_app.Daphne",
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "simple_history",
    "axes",
    "agents",
    "calls",
    "streaming",
]

MIDDLEWARE = [
    "config.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.content_policy.ContentPolicyMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
    "config.one_thread.one_thread",
]

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_TEMPLATE = "locked_out.html"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
# Behind a proxy the last address of X-Forwarded-For is the one that the proxy saw; those before it are its caller's
# claim, with which a guesser would pass for another at each try.
AXES_IPWARE_META_PRECEDENCE_ORDER = ["HTTP_X_FORWARDED_FOR"] if TRUST_PROXY else ["REMOTE_ADDR"]
AXES_IPWARE_PROXY_COUNT = 0
IPWARE_STRICT = False
AXES_VERBOSE = False

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": database(env("DATABASE_URL"), VAR_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}
globals().update(CELERY)

LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en"
TIME_ZONE: str = env("TIME_ZONE")
FORMAT_MODULE_PATH = "config.formats"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
MEDIA_ROOT = VAR_DIR / "media"  # recordings: served only through a permission check, never by a URL of their own
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

if TRUST_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = PRODUCTION
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _secure
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 8 * 3600
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# No inline script and no evaluation; what the admin needs besides is in config/content_policy.py.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "media-src": ["'self'", "blob:"],
        "connect-src": ["'self'", STREAM_URL],
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

UNFOLD = {
    "SITE_TITLE": "Parley",
    "SITE_HEADER": "Parley",
    "SITE_SUBHEADER": "Phone agents",
    "SITE_URL": None,  # there is no other site to return to
    "SITE_ICON": lambda _request: static("agents/icon.svg"),
    "SITE_FAVICONS": [
        {"rel": "icon", "href": lambda _request: static("agents/favicon.ico"), "sizes": "32x32"},
        {"rel": "icon", "href": lambda _request: static("agents/icon.svg"), "type": "image/svg+xml", "sizes": "any"},
    ],
    "STYLES": [lambda _request: static("agents/admin.css"), lambda _request: static("calls/admin.css")],
    "SCRIPTS": [lambda _request: static("agents/keyboard.js")],
    "DASHBOARD_CALLBACK": "config.navigation.start_page",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": NAVIGATION,
    },
}
