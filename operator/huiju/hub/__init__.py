"""The hub: watches jobs, queues and centers, runs the cycle, commits, follows the work."""
