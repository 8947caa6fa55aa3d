from .conversation import Conversation, Turn
from .dataset.base import (
    AlignDesc,
    APTOSDesc,
    BaseDescription,
    EyeQDesc,
    IDRIDDesc,
    MessidorDesc,
    MICCAIDesc,
    ODIRDDesc,
    RFMiDDesc,
    UKDesc,
    load_dataset,
)
from .errors import UserError
from .evaluate.evaluation import Evaluation
from .explore.boxes_job import BoxJob
from .explore.explore import Explore
from .export.card import write_card
from .export.convert import json_to_jsonl, jsonl_to_json, merge, repair, validate
from .facts import Case, Fact, Source
from .inference.infer import Infer
from .review.review import Review
from .run.job import Job
from .train.training import Training

__version__: str
