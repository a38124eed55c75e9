"""Which addresses mails may go to."""

from mailtopic_contract import Address, BadAddress, parse_address
from mailtopic_signup.errors import BadField


class Recipients:
    """Judges addresses before anything is stored."""

    async def admit(self, text: str, *, field: str) -> Address:
        """Return the address that a request's field holds.

        Raises:
            BadField: it is no address, or one that no mail from the Internet reaches.
        """
        try:
            address = parse_address(text)
        except BadAddress as error:
            raise BadField(field, str(error)) from None
        # A mail from the Internet reaches neither a bare host name nor, in practice, an IP address.
        if "." not in address.domain or address.domain.startswith("["):
            raise BadField(field, "the part after the @ must be a domain name with a dot")
        return address
