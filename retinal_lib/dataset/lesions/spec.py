"""What a dataset page says of its masks, boxes and outlines: their names, types and values."""

import re
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from retinal_lib.dataset.lesions.locations import CUP, DISC
from retinal_lib.dataset.lesions.masks import Coding

Value = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]  # as masks.Value


class CentreSpec(BaseModel, extra="forbid", frozen=True):
    """Where a landmark's centre stands: `x` and `y` are columns in pixels of a picture of `size`, (width, height), or of the
    picture itself, from its upper left corner. They are columns of the image's own row or, where `tables` are named, of these
    tables of a `dataset`: `name` is the column that names the picture as that dataset does; a picture of another dataset has
    the centre where same_pictures.yaml says that it is the same."""

    x: str
    y: str
    size: tuple[int, int] | None = None
    dataset: str = ""
    tables: dict[str, str] = {}  # split of that dataset -> name of the file, which may hold *
    name: str = ""

    @model_validator(mode="after")
    def _checked(self) -> "CentreSpec":
        if self.tables and not (self.dataset and self.name and self.size):
            raise ValueError(
                "tables of centres need their dataset, the name of the column that names the picture, and its size"
            )
        return self


class MaskSpec(BaseModel, extra="forbid", frozen=True):
    """The masks of a dataset page.

    `name` is a regular expression with the group `type` (lesion type) and, unless the whole stem names the image, the group
    `image`. It is matched with a mask's file stem or, where it contains a slash, with folder name and stem, as in MA/eye1.
    `gap` is the largest distance of lesions of one cluster, as a share of the mask's longer side; `fill` the smallest share
    of its box that a cluster fills (see `boxes.clusters`). Locations are measured from the landmarks "optic disc" and "fovea".

    Marked is what differs from the ground, which is what lies along a mask's border. Where that is not so, the page states
    the value of the `ground`, the values that `mark`, the least difference from the ground that marks (`threshold`), or, for
    several classes in one file, the type or landmark of each of the `values` (None: not told). A value is a number (of a
    palette: the index) or a colour such as "#ff0000".

    A split's `masks` may be annotation files too (*.xml, *.json, *.txt): a shape's label is its type. A group `grader` of
    `name` parts the outlines of several experts, of whom the first is shown, and whose cup-to-disc ratios must agree.
    """

    name: str = ""
    mark: Value | list[Value] = []
    ground: Value | None = None
    threshold: int | None = Field(None, gt=0)
    values: dict[Value, str | None] = {}
    types: dict[str, tuple[str, str]] = {}  # type -> (singular, plural)
    landmarks: dict[str, str] = {}
    centres: dict[Literal["optic disc", "fovea"], CentreSpec] = {}  # the disc's confirms that the fovea's is of this picture
    classes: list[str] = []  # what the numbers of YOLO files stand for, in their order
    healthy: list[str] = []  # splits whose images were looked over and have no lesion of any type; they have no masks
    expert_ratio: str | list[str] = []  # the column of an expert's vertical cup-to-disc ratio
    agree: float = Field(0.1, gt=0)  # ratios of one eye may differ by so much; by more, none is told
    absent: Literal["none", "unknown"] = "unknown"  # what a missing mask file means where the type's folder has others
    gap: float = Field(0.00025, ge=0, lt=1)
    fill: float = Field(0.2, ge=0, le=1)
    centred: Literal["macula", "not said"] = "not said"  # macula: all pictures are, so that the disc is on the nasal side
    near_fovea: list[str] = []  # types whose description says if one is within one disc diameter of the fovea

    @model_validator(mode="after")
    def _checked(self) -> "MaskSpec":
        named = {"values": self.values.values(), "near_fovea": self.near_fovea}
        for key, kinds in named.items():
            if strange := [kind for kind in kinds if kind is not None and self.kind(kind) is None]:
                raise ValueError(
                    f"{key} names {strange[0]!r}, which is none of the types and landmarks: {', '.join(self.kinds)}"
                )
        if not self.kinds and not self.centres:
            raise ValueError("types or landmarks are missing: they say what the masks mark")
        groups = re.compile(self.name).groupindex
        if self.name and not self.values and not {"type", "image"} & groups.keys():
            raise ValueError(
                f"name {self.name!r} needs a group (?P<type>…), which tells a mask's type, or the page needs values"
            )
        if self.values and self.mark:
            raise ValueError("mark and values exclude each other: values say what each value marks")
        return self

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The codes of all types and landmarks."""
        return (*self.types, *self.landmarks)

    def kind(self, name: str) -> str | None:
        """Returns a type's or landmark's code as the page writes it, by its name in any case; None where there is none."""
        return next((kind for kind in self.kinds if kind.casefold() == name.casefold()), None)

    def coding(self, kind: str) -> Coding:
        """Returns which values mark a type or landmark. The cup is a part of the disc, whose mask would else be a ring."""
        if not self.values:
            mark = self.mark if isinstance(self.mark, list) else [self.mark]
            return Coding(tuple(mark), (), self.ground, self.threshold)
        words = {DISC: (DISC, CUP)}.get(self.landmarks.get(kind), (None,))
        kinds = {kind, *(code for code, named in self.landmarks.items() if named in words)}
        named = {value: self.kind(code) if code else None for value, code in self.values.items()}
        mark = tuple(value for value, code in named.items() if code in kinds)
        return Coding(mark, tuple(value for value in named if value not in mark), self.ground)
