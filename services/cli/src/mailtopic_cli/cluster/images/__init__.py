"""The images of the charts: built when their sources change, and loaded into the cluster."""
