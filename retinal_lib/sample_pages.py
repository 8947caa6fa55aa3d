"""The samples, one function per dataset: which eyes it has, what they show, and its tables as published."""

from retinal_lib import sample_tables
from retinal_lib.fundus import Camera
from retinal_lib.sample_kit import Kit, Shot

# what a grade looks like; amounts as in `sample_lesions`
ICDR = {
    0: {},
    1: {"microaneurysms": 4},
    2: {"microaneurysms": 10, "haemorrhages": 5, "exudates far": 1},
    3: {"microaneurysms": 18, "haemorrhages": 22, "flames": 6, "soft exudates": 4},
    4: {"microaneurysms": 12, "haemorrhages": 9, "new vessels": 3, "preretinal": 1.0},
}
MYOPIA = {
    0: {"tessellation": 0.15},
    1: {"tessellation": 1.5, "crescent": 0.5},
    2: {"tessellation": 1.7, "crescent": 1.2, "diffuse atrophy": 1.0},
    3: {"tessellation": 1.5, "crescent": 1.3, "diffuse atrophy": 0.6, "patchy atrophy": 3},
    4: {"tessellation": 1.6, "crescent": 1.4, "diffuse atrophy": 0.7, "macular atrophy": 0.85},
}


def odir(kit: Kit) -> None:
    """ODIR-5K as the challenge gave it out: one row per patient, keywords per eye joined by full-width commas."""
    header = ["ID", "Patient Age", "Patient Sex", "Left-Fundus", "Right-Fundus", "Left-Diagnostic Keywords",
              "Right-Diagnostic Keywords", *"NDGCAHMO"]
    normal = ("normal fundus", {}, {})
    patients = [
        (11, 58, "Male", normal, normal, "N"),
        (23, 64, "Female", ("moderate non proliferative retinopathy", ICDR[2], {}), ("normal fundus", {}, {"quality": "usable"}), "D"),
        (58, 1, "Male", ("drusen，lens dust", {"drusen": 42, "dust": 7}, {}), normal, "O"),
        (107, 71, "Female", ("cataract", {"haze": 0.8}, {"quality": "doubtful"}), ("glaucoma", {"cup": 0.78}, {"centre": "disc"}), "GC"),
        (350, 77, "Female", ("wet age-related macular degeneration", {"CNV": 0.42, "subretinal blood": 0.8, "drusen": 22}, {}),
         ("dry age-related macular degeneration", {"drusen": 70}, {"failed": "artery"}), "A"),
        (412, 49, "Male", ("pathological myopia", MYOPIA[3], {"failed": "disc"}), ("tessellated fundus，laser spot", {"tessellation": 1.5, "laser": 90}, {}), "MO"),
        (1086, 55, "Female", ("anterior segment image", {"anterior": 1}, {"quality": "bad"}),
         ("hypertensive retinopathy，low image quality", {"artery width": 0.74, "flames": 4, "soft exudates": 3, "dark": 0.5, "blur": 0.7}, {"quality": "usable"}), "H"),
    ]
    rows: list[list[sample_tables.Cell]] = [header]
    cameras = (Camera((768, 512), 0.97), Camera((560, 560), 0.97), Camera((680, 512), 1.12))
    for n, (number, age, sex, left, right, labels) in enumerate(patients):
        for side, (_, findings, more) in (("left", left), ("right", right)):
            kit.take(Shot(f"ODIR-5K_Training_Dataset/{number}_{side}.jpg", str(number), side, findings, camera=cameras[n % 3], **more))
        flags = [int(code in labels) for code in "NDGCAHMO"]
        rows.append([number, age, sex, f"{number}_left.jpg", f"{number}_right.jpg", left[0], right[0], *flags])
    sample_tables.xlsx(kit.folder / "ODIR-5K_Training_Annotations(Updated)_V2.xlsx", rows)


PAGES = {"ODIR": odir}
