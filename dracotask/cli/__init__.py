"""``dracotask.py DOCROOT [TASKNAME | VERB]``: the one entry point of every run."""
