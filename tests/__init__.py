"""All proofs, by depth: unit, flows, simulation, integration, browser, hardware, house."""
