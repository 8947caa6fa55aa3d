"""Made-up eyes in the published layouts."""
