"""What lives in the web process: it knows the state folder, and nothing else of dracotask."""
