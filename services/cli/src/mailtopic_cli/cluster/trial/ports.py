"""The local ports used by a trial."""

import os
import socket
from dataclasses import dataclass

from mailtopic_cli.cluster.errors import ClusterError

VARIABLE = "MAILTOPIC_TRIAL_PORT_BASE"
HOST = "127.0.0.1"
_HIGHEST = 65_535


@dataclass(frozen=True)
class Ports:
    """The local ports of the signup page and the inbox."""

    signup: int = 8080
    inbox: int = 8025

    @classmethod
    def choose(cls, base: int | None) -> "Ports":
        """Return the ports from a base on, or from the one in the environment, or the usual ones.

        Raises:
            ClusterError: the base is no port.
        """
        given = os.environ.get(VARIABLE)
        if base is None and given:
            if not given.isdecimal():
                raise ClusterError(f"{VARIABLE} has to be a port, and not {given}")
            base = int(given)
        if base is None:
            return cls()
        if not 1 <= base < _HIGHEST:
            raise ClusterError(f"{base} can't be the first of two ports: take 1 to {_HIGHEST - 1}")
        return cls(signup=base, inbox=base + 1)

    def check(self) -> None:
        """Make sure that both can be listened on.

        Raises:
            ClusterError: one can't.
        """
        for purpose, port in (("the signup page", self.signup), ("the inbox", self.inbox)):
            try:
                _listen_once(port)
            except OSError as error:
                raise ClusterError(
                    f"port {port} for {purpose} can't be used ({error.strerror}): stop what uses"
                    " it, or take other ports with --port-base, for example --port-base 18080"
                    f" (or {VARIABLE}=18080)"
                ) from None


def _listen_once(port: int) -> None:
    with socket.socket() as probe:
        # Closing connections of an earlier run (TIME_WAIT) do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        probe.listen(1)
