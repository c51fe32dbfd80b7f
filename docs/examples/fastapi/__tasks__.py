import asyncio
from pathlib import Path

from dracotask import Task


class Stocktaking(Task):
    """Counts what is on the shelves, all at once."""

    def __init__(self):
        self.schedule(every="5s")

    async def run(self):
        shelves = await asyncio.gather(*(self.count(shelf) for shelf in range(3)))
        with Path("stock.txt").open("a") as file:
            file.write(f"{self.current_run.fire_time}\n")
        return f"{sum(shelves)} there"

    async def count(self, shelf):
        await asyncio.sleep(0.01)
        return 10 + shelf
