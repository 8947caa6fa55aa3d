from .explore import Explore
