"""What Django asks of an app: its name and its label."""

from __future__ import annotations

from django.apps import AppConfig


class DracotaskConfig(AppConfig):  # type: ignore[misc]
    name = "dracotask.integrations.django"
    label = "dracotask"
    verbose_name = "Scheduled tasks"
