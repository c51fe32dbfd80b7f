"""A Pyramid app with tasks; how, says shop.ini.

    PYTHONPATH=. pserve shop.ini http_port=6543
    PYTHONPATH=. pserve shop.ini http_port=6544
    dracotask . list

Pyramid's server is one process. Start a second one, on a port of its own, and nothing runs twice.
"""

from pyramid.config import Configurator
from pyramid.response import Response


def main(global_config, **settings):
    config = Configurator(settings=settings)
    config.add_route("home", "/")
    config.add_view(lambda request: Response("The shop is open.\n"), route_name="home")
    return config.make_wsgi_app()
