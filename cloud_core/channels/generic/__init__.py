"""Orders as documented JSON, signed with HMAC-SHA256: for shops that write their own connector."""

from cloud_core.channels.generic.dialect import GenericDialect

__all__ = ["GenericDialect"]
