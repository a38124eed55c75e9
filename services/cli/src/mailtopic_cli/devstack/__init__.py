"""The whole pipeline on one machine: the parts of `mailtopic up` and `mailtopic status`."""
