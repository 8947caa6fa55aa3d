"""A dataset explored: counts, labels, measurements, lesions, boxes, contact sheets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
