//! Pascal-Part in COCO's layout: the region of a part, and what it is called.

use super::coco_instances;
use super::per_record::FIELDS;
use super::registry::SourceKind;

pub(super) const KIND: SourceKind = SourceKind {
    name: "pascal-part",
    about: "Pascal-Part in COCO's layout (as Osprey's pascalpart_train.json), the name of a part's region",
    fields: FIELDS,
    build: coco_instances::open,
};
