from .harnesses import write_harness
from .label_questions import blind, questions
from .scored_answers import score
from .tables import Tables
