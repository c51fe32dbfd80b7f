"""The pages of the console: each a module whose functions make of one request what its template shows."""
