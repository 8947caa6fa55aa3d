from .batching import Options
from .llava.convert import convert
from .loading import identity, load_model
from .model import Chat, Model
