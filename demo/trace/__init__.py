"""The recorded jobs of the demo; see README.md beside this file for source and license."""
