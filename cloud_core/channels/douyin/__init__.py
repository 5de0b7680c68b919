"""Orders pushed by the Douyin shop platform: masked receivers, cipher texts, fen amounts."""

from cloud_core.channels.douyin.dialect import DouyinDialect

__all__ = ["DouyinDialect"]
