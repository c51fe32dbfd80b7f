"""A Flask app with tasks, made by a factory.

    gunicorn --workers 2 "shop:create_app()"
    flask --app shop run --debug
    flask --app shop tasks
    flask --app shop tasks runs Stocktaking

``flask tasks`` is dracotask's own program, with all its commands: ``flask --app shop tasks --help``.
"""

from flask import Flask

from dracotask.integrations.flask import DracoTask

tasks = DracoTask()


def create_app():
    app = Flask(__name__)
    app.config.from_prefixed_env()  # FLASK_DRACOTASK_CONSOLE=/tasks
    app.config.from_mapping(STOCK="stock.txt")
    app.add_url_rule("/", view_func=lambda: "The shop is open.\n")
    tasks.init_app(app)
    return app
