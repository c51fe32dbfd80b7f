"""The watcher: wakes the ticker when the docroot changes.

An accelerator only. The ticker looks at the files by itself, for inotify sees nothing on
network file systems and many mounts, its instances are few, and it does not survive a fork.
"""

from __future__ import annotations

import logging

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading

    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

#: A load opens and reads the file it loads; to wake at that would be to wake for ever.
_READING = ("opened", "closed_no_write")


class Watcher:
    """A running observer of one folder."""

    def __init__(self, observer: BaseObserver) -> None:
        self._observer = observer

    def is_alive(self) -> bool:
        """Tell whether it still sees anything. (An observer lives on when its emitter has died.)"""
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def stop(self) -> None:
        self._observer.stop()


def watch_folder(folder: str, wake: threading.Event) -> Watcher | None:
    """Set ``wake`` whenever a Python or TOML file in ``folder`` changes; None when that cannot be had."""
    try:
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        class Waker(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                paths = f"{event.src_path!r}{event.dest_path!r}"
                if event.event_type not in _READING and (".py" in paths or ".toml" in paths):
                    wake.set()

        observer = Observer()
        observer.daemon = True
        observer.schedule(Waker(), folder, recursive=False)
        observer.start()
    except Exception as error:  # no watchdog, no inotify instance left, no daemon threads here
        logging.getLogger("dracotask").debug("No watcher for %s: %s", folder, error)
        return None
    return Watcher(observer)
