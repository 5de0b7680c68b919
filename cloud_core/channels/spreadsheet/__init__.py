"""Orders and master data from CSV and XLSX files: for shops and people without an interface."""

from cloud_core.channels.spreadsheet.columns import mappable_fields
from cloud_core.channels.spreadsheet.orders import read_order_file
from cloud_core.channels.spreadsheet.reader import read_sheet

__all__ = ["mappable_fields", "read_order_file", "read_sheet"]
