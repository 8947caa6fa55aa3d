from .batching import Options
from .llava.convert import convert
from .model import Chat, Model, identity, load_model
