from contextlib import contextmanager
from pathlib import Path

from flask import current_app

from dracotask import Task


class ShopTask(Task):
    """What all tasks of the shop have in common: ``run()`` is done within the app's context."""

    abstract = True

    @contextmanager
    def around(self):
        from shop import create_app

        with create_app().app_context():
            yield


class Stocktaking(ShopTask):
    """Counts what is on the shelves."""

    def __init__(self):
        self.schedule(every="5s")

    def run(self):
        with Path(current_app.root_path, current_app.config["STOCK"]).open("a") as file:
            file.write(f"{self.current_run.fire_time}\n")
        return "all there"
