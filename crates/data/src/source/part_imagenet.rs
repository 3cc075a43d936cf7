//! PartImageNet: the region of a part, and what it is called.

use super::coco_instances;
use super::per_record::FIELDS;
use super::registry::SourceKind;

pub(super) const KIND: SourceKind = SourceKind {
    name: "part-imagenet",
    about: "PartImageNet as published (train.json in COCO's layout), the name of a part's region",
    fields: FIELDS,
    build: coco_instances::open,
};
