"""The hub: watches jobs, queues and centers, runs the cycle, commits decisions, follows the work."""
