"""Health checks: when they run, what they ask, and how results become a status."""
