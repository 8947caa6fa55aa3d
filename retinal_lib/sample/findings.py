"""What a grade or a label looks like: findings and their amounts, as `sample_lesions` and `fundus` paint them."""

from retinal_lib.sample.fundus import Camera

IDRID = Camera((768, 510), 1.19, 50)
SQUARE = Camera((560, 560), 0.98, notch=False)

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

RISK = {0: {}, 1: {"exudates far": 2}, 2: {"exudates near": 2, "exudates far": 1}}
CONDITIONS = {
    "DR": {"microaneurysms": 12, "haemorrhages": 10, "exudates far": 2},
    "ARMD": {"CNV": 0.4, "subretinal blood": 0.6},
    "DN": {"drusen": 45},
    "ODC": {"cup": 0.76},
    "MYA": {"crescent": 1.3, "diffuse atrophy": 0.8},
    "TSLN": {"tessellation": 1.6},
    "BRVO": {"vein occlusion": 1},
    "CRVO": {"vein occlusion": 2, "tortuous": 2.2},
    "MH": {"haze": 0.75},
    "CSR": {"serous detachment": 0.85},
    "LS": {"laser": 120},
    "MHL": {"macular hole": 0.15},
    "ODE": {"disc oedema": 1, "cup": 0.22},
    "ON": {},
    "ERM": {"membrane": 1},
    "MNF": {"nerve fibres": 1},
    "RP": {"spicules": 60, "disc pallor": 0.6, "artery width": 0.75},
    "CNV": {"CNV": 0.5},
}


def side_of(n: int) -> str:
    """Left and right in turn."""
    return "left" if n % 2 == 0 else "right"
