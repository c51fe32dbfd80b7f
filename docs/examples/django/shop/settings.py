from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "dracotask.integrations.django",  # for `manage.py tasks`
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"  # so that runserver sees to the tasks, too
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "shop.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
SECRET_KEY = "of an example, and secret no more"
TIME_ZONE = "UTC"  # also the timezone in dracotask.toml
USE_TZ = True

# The console, for the staff of the site: superusers may steer, others may look.
DRACOTASK = {
    "console": "/tasks",
    "authorize": "dracotask.integrations.django.staff_only",
}
