"""Huiju joins AI computing centers into one network: it senses, queues, dispatches and follows."""

__version__ = "0.2.0"
