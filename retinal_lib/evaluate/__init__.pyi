from .label_questions import blind, questions
from .tables import Tables
