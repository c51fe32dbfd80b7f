from pathlib import Path

from dracotask.integrations.django import DjangoTask


class Stocktaking(DjangoTask):
    """Counts what is on the shelves, and who may go there."""

    def __init__(self):
        self.schedule(every="5s")

    def run(self):
        # Django is set up within run(), and not before it.
        from django.contrib.auth.models import User

        with Path("stock.txt").open("a") as file:
            file.write(f"{self.current_run.fire_time}\n")
        return f"all there, {User.objects.count()} users"
