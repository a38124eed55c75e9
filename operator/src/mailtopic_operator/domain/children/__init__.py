"""The child objects of a MailTopic, as they should be: pure builders for server-side apply."""

from mailtopic_operator.domain.children.family import child_refs, is_ours, wanted_children

__all__ = ["child_refs", "is_ours", "wanted_children"]
