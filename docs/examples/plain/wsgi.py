"""A site of plain WSGI with tasks.

    gunicorn --workers 2 wsgi:application

Whichever worker looks first starts what is due; the other starts nothing a second time. What there is to do, and what
ran, says ``dracotask . list``.
"""

from pathlib import Path

from dracotask import TaskMiddleware


def shop(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"The shop is open.\n"]


application = TaskMiddleware(shop, Path(__file__).resolve().parent)
