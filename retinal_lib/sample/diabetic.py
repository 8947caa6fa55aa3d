"""The samples of the datasets on diabetic retinopathy, one function each: their eyes, and their tables as published."""

from retinal_lib.sample import files as sample_tables
from retinal_lib.sample.canvas import generator
from retinal_lib.sample.findings import ICDR, IDRID, RISK, side_of
from retinal_lib.sample.fundus import Camera
from retinal_lib.sample.kit import Kit, Shot


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
