import os

from django.core.wsgi import get_wsgi_application

from dracotask.integrations.django import wrap_wsgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

application = wrap_wsgi(get_wsgi_application())
