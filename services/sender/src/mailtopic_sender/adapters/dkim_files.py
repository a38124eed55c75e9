"""DKIM keys from a directory, such as a mounted Secret: ``<selector>.pem`` for each selector."""

from collections.abc import Sequence
from pathlib import Path

from mailtopic_runtime import SettingError, get_logger
from mailtopic_sender.domain.dkim import ADVISED_RSA_BITS, DkimKey, DkimKeyError, DkimSigner

SETTING = "MAILTOPIC_DKIM__KEYS_DIRECTORY"


def load_signer(domain: str, selectors: Sequence[str], directory: Path) -> DkimSigner:
    """Return the signer of a domain; logs a warning for a short RSA key.

    Raises:
        SettingError: a selector's key can't be read, or is no key that verifiers take.
    """
    keys = load_keys(selectors, directory)
    for key in keys:
        if key.is_short:
            get_logger(__name__).warning(
                "dkim.short_key", selector=key.selector, advised_bits=ADVISED_RSA_BITS
            )
    return DkimSigner(domain, keys)


def load_keys(selectors: Sequence[str], directory: Path) -> list[DkimKey]:
    """Return the selectors' keys.

    Raises:
        SettingError: a selector's key can't be read, or is no key that verifiers take.
    """
    return [_key(selector, directory / f"{selector}.pem") for selector in selectors]


def _key(selector: str, path: Path) -> DkimKey:
    try:
        return DkimKey.from_pem(selector, path.read_bytes())
    except OSError as error:
        raise SettingError(SETTING, f"{path} can't be read: {error.strerror}") from None
    except DkimKeyError as error:
        raise SettingError(SETTING, f"{path} can't sign: {error}") from None
