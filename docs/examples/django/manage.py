"""A Django project with tasks.

    python manage.py migrate
    gunicorn --workers 2 shop.wsgi
    uvicorn --workers 2 shop.asgi:application
    python manage.py runserver
    python manage.py tasks
    python manage.py tasks runs Stocktaking

``manage.py tasks`` is dracotask's own program, with all its commands: ``manage.py tasks --help``.
"""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
