"""The web console: what ran, why, how late and with what output; and the verbs. A WSGI application (PEP 3333)."""
