//! Tags.

use super::{Operation, operation};
use crate::contract::interleaved::scenario::MIRROR;
use crate::contract::support::{digest, name, tag};
use crate::{Origin, SetTag};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation!(set_tag, "from one to another", _facts, [set("v1", "n")]),
        operation!(set_tag, "that is new", _facts, [set("v2", "m")]),
        operation!(
            touch_tag,
            "as it is",
            _facts,
            [&name("a"), &tag("v1"), &digest("m")]
        ),
        operation!(
            delete_tag,
            "that there is",
            _facts,
            [&name("a"), &tag("v1"), "alice"]
        ),
        operation!(
            evict_tag,
            "of the mirror",
            _facts,
            [&name(MIRROR), &tag("v1")]
        ),
    ]
}

fn set(name_of_tag: &str, content: &str) -> SetTag {
    SetTag {
        repository: name("a"),
        tag: tag(name_of_tag),
        digest: digest(content),
        by: "bob".into(),
        origin: Origin::Pushed,
        checked_at: 0,
    }
}
