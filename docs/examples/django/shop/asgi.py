import os

from django.core.asgi import get_asgi_application

from dracotask.integrations.django import wrap_asgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

application = wrap_asgi(get_asgi_application())
