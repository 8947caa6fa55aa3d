"""RetinalGPT and other LLaVA-v0 models: load one, ask it, convert it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
