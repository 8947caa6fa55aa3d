"""The dataset classes by the names researchers know, each bound to its page; some have a second page, chosen by `dataset=`."""

from pathlib import Path

from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.page import page_of
from retinal_lib.facts import ASPECTS


class APTOSDesc(BaseDescription):
    """APTOS 2019: ICDR grade."""

    dataset = "APTOS"


class EyeQDesc(BaseDescription):
    """EyeQ on EyePACS: graded quality and ICDR grade."""

    dataset = "EyeQ"


class IDRIDDesc(BaseDescription):
    """IDRiD: grading; `dataset="IDRiD_seg"` for the lesion masks."""

    dataset = "IDRiD"


class MICCAIDesc(BaseDescription):
    """MMAC 2023 task 1, META-PM grade; `dataset="MICCAI_task2"` for the lesion masks."""

    dataset = "MICCAI_task1"


class MessidorDesc(BaseDescription):
    """Messidor with its own scale; `dataset="Messidor2"` for Messidor-2 with ICDR grades."""

    dataset = "Messidor"


class ODIRDDesc(BaseDescription):
    """ODIR-5K: diagnostic keywords per eye, labels per patient."""

    dataset = "ODIR"


class RFMiDDesc(BaseDescription):
    """RFMiD: 45 conditions; `dataset="RFMiD2"` for RFMiD 2.0."""

    dataset = "RFMiD"


class UKDesc(BaseDescription):
    """UK Biobank: eye from the file name, AutoMorph's results."""

    dataset = "UK"


class AlignDesc(BaseDescription):
    """Any dataset (`dataset=`) as the alignment track describes it: without vessel measurements.

    >>> AlignDesc.aspects
    ('image', 'patient', 'quality', 'disease', 'lesion', 'notes')
    """

    dataset = "ODIR"
    aspects = tuple(aspect for aspect in ASPECTS if aspect != "vascular")


_FIRST = (APTOSDesc, EyeQDesc, IDRIDDesc, MICCAIDesc, MessidorDesc, ODIRDDesc, RFMiDDesc, UKDesc)
_SECOND = {"IDRiD_seg": IDRIDDesc, "MICCAI_task2": MICCAIDesc, "Messidor2": MessidorDesc, "RFMiD2": RFMiDDesc}
CLASSES = {class_.dataset: class_ for class_ in _FIRST} | _SECOND  # by page


def load_dataset(
    name: str,
    data_root: str | Path,
    automorph_root: str | Path | None = None,
    split: str | None = None,
) -> BaseDescription:
    """Opens a dataset on disk by its page's name (any case), by path to a page of your own, or by path to a plain CSV.

    UserError: unknown name or split, or the folder does not hold the dataset; the sentence says what was looked for.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "eye1.png").write_bytes(b"a picture")
    ...     _ = Path(folder, "labels.csv").write_text("image,disease\\neye1.png,signs of glaucoma\\n")
    ...     data = load_dataset(f"{folder}/labels.csv", folder)
    >>> data.images
    ['eye1.png']
    """
    page = page_of(name)
    return CLASSES.get(page.name, BaseDescription)(data_root, automorph_root, split, dataset=page)
