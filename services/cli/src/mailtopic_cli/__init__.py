"""The mailtopic command: the whole pipeline on one machine, and its tools."""
