"""The wanted child objects of a MailTopic: pure builders for server-side apply."""

from mailtopic_operator.domain.children.family import child_refs, is_ours, wanted_children

__all__ = ["child_refs", "is_ours", "wanted_children"]
