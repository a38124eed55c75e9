"""The whole pipeline on one machine: what `mailtopic up` and `mailtopic status` are made of."""
