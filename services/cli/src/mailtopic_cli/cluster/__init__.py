"""`mailtopic cluster`: a local Kubernetes by kind, the images and the charts in it.

It needs a clone of the repository, with the Dockerfiles and the charts.
"""
