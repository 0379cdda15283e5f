"""The commands of ``cli.py``, one module each."""
