"""Which function draws which dataset."""

from collections.abc import Callable

from retinal_lib.sample import diabetic as sample_diabetic
from retinal_lib.sample import diseases as sample_diseases
from retinal_lib.sample.kit import Kit

PAGES: dict[str, Callable[[Kit], None]] = {
    "APTOS": sample_diabetic.aptos,
    "EyeQ": sample_diabetic.eyeq,
    "IDRiD": sample_diabetic.idrid,
    "IDRiD_seg": sample_diabetic.idrid_seg,
    "MICCAI_task1": sample_diseases.miccai_1,
    "MICCAI_task2": sample_diseases.miccai_2,
    "Messidor": sample_diabetic.messidor,
    "Messidor2": sample_diabetic.messidor2,
    "ODIR": sample_diseases.odir,
    "RFMiD": sample_diseases.rfmid,
    "RFMiD2": sample_diseases.rfmid2,
    "UK": sample_diseases.uk,
}
