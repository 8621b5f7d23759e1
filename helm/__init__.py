"""The charts, and the program that makes what in them follows from the code."""
