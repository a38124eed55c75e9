"""`mailtopic cluster`: a local Kubernetes by kind, the images and the charts in it.

It works on a clone of the repository, which has the Dockerfiles and the charts.
"""
