from pathlib import Path

from dracotask import Task


class Stocktaking(Task):
    """Counts what is on the shelves."""

    def __init__(self):
        self.schedule(every="5s")

    def run(self):
        # The working folder of a task is the docroot.
        with Path("stock.txt").open("a") as file:
            file.write(f"{self.current_run.fire_time}\n")
        return "all there"
