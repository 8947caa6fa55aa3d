"""retinal_lib: retinal annotations to instruction-tuning conversations that can be checked.

`__init__.pyi` names what is public; each name is imported on first use, so that `import retinal_lib` is quick and needs no
heavy library. The rooms that have public names do the same.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
