"""The installed agent in a virtual machine: real kernel devices, real systemd, hard power cuts."""
