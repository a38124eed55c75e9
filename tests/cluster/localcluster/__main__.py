"""`mailtopic cluster` with the one-node cluster and buildah: `python -m localcluster --help`."""

from mailtopic_cli.cluster.commands import app
from mailtopic_cli.cluster.settings import Settings

from .node_cluster import link_clients
from .node_settings import NodeSettings, cache_folder
from .parts import PARTS
from .toolchain import MODULES, Toolchain


@app.command()
def build() -> None:
    """Build the node's programs into the cache and link the clients, and start nothing."""
    settings = NodeSettings(Settings.from_environment().state)
    settings.state.mkdir(parents=True, exist_ok=True)
    toolchain = Toolchain(cache_folder(), print)
    toolchain.ensure(*MODULES)
    if not settings.mode_file.exists():
        link_clients(settings, toolchain)


if __name__ == "__main__":
    app(obj=PARTS)
