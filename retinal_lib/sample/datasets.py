"""The samples of all datasets, one function each, in the layouts as published."""

from retinal_lib.dataset import page
from retinal_lib.dataset.fact_kinds import Flags
from retinal_lib.sample import files as sample_tables
from retinal_lib.sample.canvas import generator
from retinal_lib.sample.fundus import Camera
from retinal_lib.sample.kit import CONDITIONS, ICDR, IDRID, MYOPIA, RISK, SQUARE, Kit, Shot, side_of


def aptos(kit: Kit) -> None:
    """APTOS 2019: hexadecimal ids, pictures of several sizes, a test table without labels."""
    cameras = (Camera((768, 512), 1.12, 50), Camera((640, 480), 0.98), Camera((512, 512), 0.98, notch=False))
    shots = [
        (0, {}),
        (2, {}),
        (4, {}),
        (1, {}),
        (0, {"quality": "usable"}),
        (3, {}),
        (2, {"quality": "doubtful"}),
        (0, {"centre": "disc"}),
        (3, {"failed": "disc"}),
        (4, {}),
        (1, {}),
        (0, {}),
        (2, {}),
        (0, {}),
    ]
    rows: dict[str, list[str]] = {"train": ["id_code,diagnosis"], "test": ["id_code"]}
    for n, (grade, more) in enumerate(shots):
        split = "train" if n < 12 else "test"
        name = generator("aptos", kit.seed, n).bytes(6).hex()
        kit.take(Shot(f"{split}_images/{name}.png", name, side_of(n), ICDR[grade], camera=cameras[n % 3], **more))
        rows[split].append(f"{name},{grade}" if split == "train" else name)
    for split, lines in rows.items():
        kit.text(f"{split}.csv", lines)
    kit.text("sample_submission.csv", ["id_code,diagnosis", *(f"{name},2" for name in rows["test"][1:])])


def eyeq(kit: Kit) -> None:
    """EyeQ's quality tables with their unnamed index column, on EyePACS pictures of both eyes."""
    kit.camera = Camera((768, 512), 1.04, notch=False)
    quality = ({}, {"quality": "usable"}, {"quality": "bad"})
    splits = {
        "train": [
            (70031, "left", 0, 0),
            (70031, "right", 0, 1),
            (70048, "left", 1, 2),
            (70048, "right", 0, 2),
            (70112, "left", 2, 0),
            (70112, "right", 0, 0),
            (70257, "left", 0, 4),
            (70257, "right", 1, 3),
        ],
        "test": [(80006, "left", 0, 0), (80006, "right", 0, 0), (80145, "left", 0, 3), (80145, "right", 2, 2)],
    }
    for split, eyes in splits.items():
        rows = [",image,quality,DR_grade"]
        for n, (patient, side, level, grade) in enumerate(eyes):
            more = dict(quality[level])
            if (patient, side) == (70257, "right"):
                more = {"quality": "doubtful"}
            more |= {(70031, "left"): {"centre": "disc"}, (70112, "right"): {"failed": "disc"}}.get((patient, side), {})
            kit.take(Shot(f"{split}/{patient}_{side}.jpeg", str(patient), side, ICDR[grade], **more))
            rows.append(f"{n},{patient}_{side}.jpeg,{level},{grade}")
        kit.text(f"Label_EyeQ_{split}.csv", rows)


def idrid(kit: Kit) -> None:
    """IDRiD grading: a trailing space in the header, nine blank columns, numbering that restarts in the test split."""
    kit.camera = IDRID
    splits = {
        "train": (
            "a. Training Set",
            "a. IDRiD_Disease Grading_Training Labels.csv",
            [(3, 2), (0, 0), (2, 1), (4, 2), (1, 0), (0, 0), (2, 2), (2, 0)],
        ),
        "test": ("b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv", [(0, 0), (2, 1), (4, 0), (3, 2)]),
    }
    # the page says that every picture is centred on the macula, so AutoMorph's table of disc-centred ones stays empty
    more = {"train6": {"quality": "usable"}, "train7": {"quality": "doubtful"}, "train8": {"failed": "disc"}}
    for split, (folder, table, grades) in splits.items():
        blank = "," * 9 if split == "train" else ""
        rows = ["Image name,Retinopathy grade,Risk of macular edema " + blank]
        for n, (grade, risk) in enumerate(grades, start=1):
            name = f"IDRiD_{n:03d}"
            findings = {k: v for k, v in ICDR[grade].items() if not k.startswith("exudates")} | RISK[risk]
            kit.take(
                Shot(
                    f"B. Disease Grading/1. Original Images/{folder}/{name}.jpg",
                    f"{split}{n}",
                    side_of(n),
                    findings,
                    split=split,
                    **more.get(f"{split}{n}", {}),
                )
            )
            rows.append(f"{name},{grade},{risk}" + (blank if n != 5 or not blank else ",,, ,,,,,,"))
        kit.text(f"B. Disease Grading/2. Groundtruths/{table}", rows, newline="\r\n")


SEG_FOLDERS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}
SEG_BASE = {"microaneurysms": 12, "haemorrhages": 6, "exudates far": 2, "exudates near": 1}
SEG_SEVERE = SEG_BASE | {"haemorrhages": 14, "flames": 4, "soft exudates": 3, "exudates far": 3}
# number, findings, settings of the shot
SEG_EYES = {
    "a. Training Set": [
        (1, SEG_BASE, {}),
        (2, SEG_SEVERE, {}),
        (3, SEG_BASE | {"soft exudates": 2}, {}),
        (5, SEG_BASE | {"new vessels": 2}, {}),
        (13, SEG_BASE, {"quality": "usable"}),
        (22, SEG_SEVERE, {}),
        (36, SEG_BASE, {"failed": "disc"}),
        (43, SEG_BASE | {"haemorrhages": 0}, {}),
    ],
    "b. Testing Set": [
        (55, SEG_SEVERE, {}),
        (59, SEG_BASE, {"quality": "doubtful"}),
        (74, SEG_BASE | {"soft exudates": 3}, {}),
        (81, SEG_BASE | {"exudates far": 5}, {}),
    ],
}


def idrid_seg(kit: Kit) -> None:
    """IDRiD segmentation: 1-bit palette masks, some types without a file, one mask in red and opaque alpha."""
    kit.camera = IDRID
    for folder, eyes in SEG_EYES.items():
        for number, findings, more in eyes:
            name = f"IDRiD_{number:02d}"
            drawing = kit.take(
                Shot(f"A. Segmentation/1. Original Images/{folder}/{name}.jpg", name, side_of(number), findings, **more)
            )
            for code, place in SEG_FOLDERS.items():
                mask = drawing.disc if code == "OD" else drawing.masks.get(code)
                if mask is not None and mask.any():
                    write = sample_tables.red_tiff if (number, code) == (81, "EX") else sample_tables.palette_tiff
                    write(
                        kit.folder / f"A. Segmentation/2. All Segmentation Groundtruths/{folder}/{place}/{name}_{code}.tif",
                        mask,
                    )


# per base: the table's name, then name, grade as published, grade after the errata, risk of macular oedema
MESSIDOR_EYES = {
    "Base11": (
        "Annotation_Base11.xls",
        [
            ("20051020_63045", 3, 0, 0),
            ("20051020_64007", 1, 3, 0),
            ("20051020_43808", 0, 0, 0),
            ("20051020_43832", 1, 1, 0),
            ("20051020_43882", 2, 2, 1),
            ("20051020_44261", 3, 3, 2),
        ],
    ),
    "Base12": (
        "Annotation Base12.xls",
        [
            ("20051116_44615", 0, 0, 0),
            ("20051116_44816", 2, 2, 2),
            ("20051116_45737", 3, 3, 1),
            ("20051116_52690", 0, 0, 0),
            ("20051116_57719", 1, 1, 0),
            ("20051116_57995", 2, 2, 0),
        ],
    ),
}
MESSIDOR_GRADES = {
    0: {},
    1: {"microaneurysms": 4},
    2: {"microaneurysms": 10, "haemorrhages": 3},
    3: {"microaneurysms": 17, "haemorrhages": 9, "flames": 2},
}


def messidor(kit: Kit) -> None:
    """Messidor: old Excel tables, one with a space in its name, and grades that an erratum put right."""
    more = {
        "20051020_43808": {"centre": "disc"},
        "20051020_43882": {"quality": "usable"},
        "20051116_52690": {"quality": "doubtful"},
        "20051116_57719": {"failed": "artery"},
        "20051116_57995": {"failed": "disc"},
    }
    for base, (table, eyes) in MESSIDOR_EYES.items():
        rows: list[list[sample_tables.Cell]] = [
            ["Image name", "Ophthalmologic department", "Retinopathy grade", "Risk of macular edema "]
        ]
        for n, (name, published, grade, risk) in enumerate(eyes):
            file = f"{name}_0100_PP.tif"
            kit.take(Shot(f"{base}/{file}", name, side_of(n), MESSIDOR_GRADES[grade] | RISK[risk], **more.get(name, {})))
            rows.append([file, "Service Ophtalmologie Lariboisière", published, risk])
        sample_tables.xls(kit.folder / base / table, rows)


def messidor2(kit: Kit) -> None:
    """Messidor-2: PNG and upper-case JPG files, grades under lower-case names, one ungradable picture, pairs."""
    pairs = [
        ("20051020_43808_0100_PP.png", "20051020_43832_0100_PP.png"),
        ("20051116_44615_0100_PP.png", "20051116_44816_0100_PP.png"),
        ("20060410_40043_0200_PP.png", "20060410_40047_0200_PP.png"),
        ("IM003718.JPG", "IM003719.JPG"),
        ("IM003788.JPG", "IM003789.JPG"),
        ("IM004176.JPG", "IM004177.JPG"),
    ]
    grades = [
        (0, 0, {}),
        (0, 0, {"centre": "disc"}),
        (2, 1, {}),
        (1, 0, {}),
        (3, 0, {}),
        (2, 1, {"quality": "usable"}),
        (0, 0, {}),
        None,
        (4, 1, {}),
        (4, 0, {"failed": "artery"}),
        (0, 0, {"failed": "disc"}),
        (1, 0, {"quality": "doubtful"}),
    ]
    rows = ["image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"]
    for n, name in enumerate(name for pair in pairs for name in pair):
        listed, label = name.replace(".JPG", ".jpg"), grades[n]
        grade, dme, more = label or (0, 0, {"quality": "bad"})
        findings = ICDR[grade] | ({"exudates near": 2} if dme else {})
        kit.take(Shot(f"IMAGES/{name}", f"pair{n // 2}", side_of(n), findings, **more))
        rows.append(f"{listed},{grade},{dme},1" if label else f"{listed},,,0")
    kit.text("messidor_data.csv", rows)
    kit.text("messidor-2.csv", ["left;right", *(";".join(pair) for pair in pairs)])


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
