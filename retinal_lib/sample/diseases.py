"""The samples of the datasets on several diseases, on myopia and of UK Biobank, one function each, as published."""

from retinal_lib.dataset import page
from retinal_lib.dataset.fact_kinds import Flags
from retinal_lib.sample import files as sample_tables
from retinal_lib.sample.findings import CONDITIONS, ICDR, MYOPIA, SQUARE, side_of
from retinal_lib.sample.fundus import Camera
from retinal_lib.sample.kit import Kit, Shot

ODIR_HEADER = [
    "ID",
    "Patient Age",
    "Patient Sex",
    "Left-Fundus",
    "Right-Fundus",
    "Left-Diagnostic Keywords",
    "Right-Diagnostic Keywords",
    *"NDGCAHMO",
]
# an eye: keywords, findings, settings of its shot
ODIR_NORMAL = ("normal fundus", {}, {})
# id, age, sex, left eye, right eye, the patient's labels
ODIR_PATIENTS = [
    (11, 58, "Male", ODIR_NORMAL, ODIR_NORMAL, "N"),
    (
        23,
        64,
        "Female",
        ("moderate non proliferative retinopathy", ICDR[2], {}),
        ("normal fundus", {}, {"quality": "usable"}),
        "D",
    ),
    (58, 1, "Male", ("drusen，lens dust", {"drusen": 42, "dust": 7}, {}), ODIR_NORMAL, "O"),
    (
        107,
        71,
        "Female",
        ("cataract", {"haze": 0.8}, {"quality": "doubtful"}),
        ("glaucoma", {"cup": 0.78}, {"centre": "disc"}),
        "GC",
    ),
    (
        350,
        77,
        "Female",
        ("wet age-related macular degeneration", {"CNV": 0.42, "subretinal blood": 0.8, "drusen": 22}, {}),
        ("dry age-related macular degeneration", {"drusen": 70}, {"failed": "artery"}),
        "A",
    ),
    (
        412,
        49,
        "Male",
        ("pathological myopia", MYOPIA[3], {"failed": "disc"}),
        ("tessellated fundus，laser spot", {"tessellation": 1.5, "laser": 90}, {}),
        "MO",
    ),
    (
        1086,
        55,
        "Female",
        ("anterior segment image", {"anterior": 1}, {"quality": "bad", "plain": True}),
        (
            "hypertensive retinopathy，low image quality",
            {"artery width": 0.74, "flames": 4, "soft exudates": 3, "dark": 0.5, "blur": 0.7},
            {"quality": "usable"},
        ),
        "H",
    ),
]


def odir(kit: Kit) -> None:
    """ODIR-5K as the challenge gave it out: one row per patient, keywords per eye joined by full-width commas."""
    rows: list[list[sample_tables.Cell]] = [ODIR_HEADER]
    cameras = (Camera((768, 512), 0.97), Camera((560, 560), 0.97), Camera((680, 512), 1.12))
    for n, (number, age, sex, left, right, labels) in enumerate(ODIR_PATIENTS):
        for side, (_, findings, more) in (("left", left), ("right", right)):
            kit.take(
                Shot(
                    f"ODIR-5K_Training_Dataset/{number}_{side}.jpg",
                    str(number),
                    side,
                    findings,
                    camera=cameras[n % 3],
                    **more,
                )
            )
        flags = [int(code in labels) for code in "NDGCAHMO"]
        rows.append([number, age, sex, f"{number}_left.jpg", f"{number}_right.jpg", left[0], right[0], *flags])
    sample_tables.xlsx(kit.folder / "ODIR-5K_Training_Annotations(Updated)_V2.xlsx", rows)


def miccai_1(kit: Kit) -> None:
    """MMAC task 1: the two eyes of a person stand in consecutive rows and share age, sex, height and weight."""
    kit.camera = SQUARE
    place = "1. Classification of Myopic Maculopathy"
    splits = {
        "train": (
            "1. Training",
            [(0, 1), (2, 3), (4, 1), (2, 0)],
            [(34, "female", 162, 54), (61, "male", 171, 70), (68, "female", 157, 58), (45, "male", 176, 81)],
        ),
        "val": ("2. Validation", [(1, 2), (0, 3)], [(52, "female", 160, 61), (29, "male", 180, 77)]),
    }
    more = {
        "train1": {"quality": "usable"},
        "train3": {"failed": "disc"},
        "train5": {"quality": "doubtful"},
        "train8": {"centre": "disc"},
    }
    for split, (title, pairs, persons) in splits.items():
        rows = ["image,myopic_maculopathy_grade,age,sex,height,weight"]
        for person, grades in enumerate(pairs):
            for side, grade in zip(("left", "right"), grades, strict=True):
                n = len(rows)
                kit.take(
                    Shot(
                        f"{place}/1. Images/{title} Set/mmac_task_1_{split}_{n:04d}.png",
                        f"{split}{person}",
                        side,
                        MYOPIA[grade],
                        **more.get(f"{split}{n}", {}),
                    )
                )
                rows.append(",".join(map(str, (f"mmac_task_1_{split}_{n:04d}.png", grade, *persons[person]))))
        kit.text(
            f"{place}/2. Groundtruths/{title[:3]}MMAC2023_Myopic_Maculopathy_Classification_{title[3:]}_Labels.csv",
            rows,
        )


def miccai_2(kit: Kit) -> None:
    """MMAC task 2: a folder per lesion; a mask bears its image's name and holds 0 and 255."""
    kit.camera = SQUARE
    place = "2. Segmentation of Myopic Maculopathy Plus Lesions"
    lesions = {
        "LC": ("1. Lacquer Cracks", "lacquer cracks", (3, 2, 4, 3)),
        "CNV": ("2. Choroidal Neovascularization", "CNV", (0.4, 0.55, 0.3, 0.45)),
        "FS": ("3. Fuchs Spot", "Fuchs spot", (0.26, 0.34, 0.2, 0.3)),
    }
    more = {
        "LC2": {"quality": "usable"},
        "CNV1": {"failed": "disc"},
        "FS3": {"centre": "disc"},
        "FS2": {"quality": "doubtful"},
    }
    for code, (folder, finding, amounts) in lesions.items():
        for n, amount in enumerate(amounts, start=1):
            split, title, number = ("train", "1. Training Set", n) if n < 4 else ("val", "2. Validation Set", 1)
            file = f"{title}/mmac_task_2_{split}_{code}_{number:04d}.png"
            findings = {"tessellation": 1.3, "crescent": 1.0, finding: amount}
            drawing = kit.take(
                Shot(
                    f"{place}/{folder}/1. Images/{file}",
                    f"{code}{n}",
                    side_of(n),
                    findings,
                    **more.get(f"{code}{n}", {}),
                )
            )
            sample_tables.grey_png(kit.folder / place / folder / "2. Groundtruths" / file, drawing.masks[code])


def rfmid(kit: Kit) -> None:
    """RFMiD: a byte order mark, 45 labels, numbering that restarts in each of the three splits."""
    codes = list(_labels("RFMiD"))
    splits = {
        "train": (
            "a. Training",
            "a. RFMiD_Training_Labels.csv",
            [("",), ("DR",), ("ARMD", "DN"), ("",), ("ODC",), ("MYA", "TSLN")],
        ),
        "val": ("b. Validation", "b. RFMiD_Validation_Labels.csv", [("BRVO",), ("",), ("MH",)]),
        "test": ("c. Testing", "c. RFMiD_Testing_Labels.csv", [("CSR",), ("LS", "DR"), ("",)]),
    }
    more = {
        "train4": {"centre": "disc"},
        "train3": {"failed": "disc"},
        "val2": {"quality": "usable"},
        "val3": {"quality": "doubtful"},
    }
    cameras = (Camera((768, 510), 1.04), Camera((768, 510), 1.19, 50), Camera((680, 510), 1.0, notch=False))
    for split, (title, table, eyes) in splits.items():
        rows = [",".join(["ID", "Disease_Risk", *codes])]
        for n, labels in enumerate(eyes, start=1):
            kit.take(
                Shot(
                    f"A. RFMiD_All_Classes_Dataset/1. Original Images/{title} Set/{n}.png",
                    f"{split}{n}",
                    side_of(n),
                    _shown(labels),
                    split=split,
                    camera=cameras[n % 3],
                    **more.get(f"{split}{n}", {}),
                )
            )
            rows.append(",".join(map(str, [n, int(labels != ("",)), *(int(code in labels) for code in codes)])))
        kit.text(f"A. RFMiD_All_Classes_Dataset/2. Groundtruths/{table}", rows, encoding="utf-8-sig")


def rfmid2(kit: Kit) -> None:
    """RFMiD 2.0: code page 1252 with a no-break space in a header, a misspelt label, a blank last column, WNL."""
    codes = sorted({*_labels("RFMiD2"), "ON", "RHL", "RTR", "SOFE"})
    header = ",".join(["ID", "WNL", *({"ON": "ON\xa0", "ODPM": "OPDM"}.get(code, code) for code in codes), ""])
    splits = {
        "Training": [("",), ("DR",), ("MHL",), ("ODE", "ON"), ("",), ("CRVO",)],
        "Validation": [("ERM",), ("",), ("MNF",)],
        "Test": [("RP",), ("",), ("CNV",)],
    }
    more = {
        "Training5": {"centre": "disc"},
        "Training3": {"failed": "disc"},
        "Validation2": {"quality": "usable"},
        "Test2": {"quality": "doubtful"},
    }
    for title, eyes in splits.items():
        rows, split = [header], {"Training": "train", "Validation": "val", "Test": "test"}[title]
        for n, labels in enumerate(eyes, start=1):
            kit.take(
                Shot(
                    f"{title}_set/{n}.jpg",
                    f"{title}{n}",
                    side_of(n),
                    _shown(labels),
                    split=split,
                    **more.get(f"{title}{n}", {}),
                )
            )
            rows.append(",".join(map(str, [n, int(labels == ("",)), *(int(code in labels) for code in codes), ""])))
        table = "Testing" if title == "Test" else title
        kit.text(f"{title}_set/RFMiD_2_{table}_labels.csv", rows, encoding="cp1252")


def uk(kit: Kit) -> None:
    """Names as UK Biobank gives them (participant, field, visit, take), with made-up participants; no labels."""
    kit.camera = Camera((680, 510), 0.98, notch=False)
    more = {
        2: {"quality": "usable"},
        5: {"quality": "bad"},
        7: {"centre": "disc"},
        8: {"failed": "disc"},
        10: {"quality": "doubtful"},
        11: {"failed": "artery"},
    }
    for n in range(12):
        field, side = ((21015, "left"), (21016, "right"))[n % 2]
        patient = 9000001 + n // 2
        findings = {6: {"drusen": 30}, 9: {"cup": 0.66}}.get(n, {})
        kit.take(Shot(f"{patient}_{field}_{0 if n < 10 else 1}_0.png", str(patient), side, findings, **more.get(n, {})))


def _labels(dataset: str) -> dict[str, str]:
    """The codes of a page's 0/1 columns, in the page's order, and their words."""
    return next(kind.labels for kind in page.get(dataset).gives if isinstance(kind, Flags))


def _shown(labels: tuple[str, ...]) -> dict[str, float]:
    """What a picture with these RFMiD labels shows."""
    return {finding: amount for code in labels if code for finding, amount in CONDITIONS[code].items()}
