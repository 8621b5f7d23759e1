"""Huiju joins AI computing centers into one network: it senses, queues, dispatches and follows."""

__version__ = "0.1.0"
