"""The HTTP door: shops push orders in, staff and programs read and act, buyers follow a parcel."""
