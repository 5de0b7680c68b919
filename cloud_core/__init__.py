"""The core: takes paid orders, gives each shipment to one warehouse, follows it to the door."""
