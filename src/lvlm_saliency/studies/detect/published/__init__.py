"""Published detectors on one label set: `study detect --detector all`."""
