//! Lists of named things as JSON objects, in their order; for `#[serde(with = "named")]`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Something with a name that is unique in its list. Its own form does not hold the name: that is the key.
pub trait Named {
    /// The name.
    fn name(&self) -> &str;
    /// Takes the name that the key said.
    fn set_name(&mut self, name: String);
}

/// The first of a list that has this name.
#[must_use]
pub fn find<'a, T: Named>(items: &'a [T], name: &str) -> Option<&'a T> {
    items.iter().find(|item| item.name() == name)
}

/// Writes the list as an object.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Named + Serialize, S: Serializer>(
    items: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(items.iter().map(|item| (item.name(), item)))
}

/// Reads an object as a list, in the object's order.
///
/// # Errors
/// Those of the deserializer, and a name that occurs twice.
pub fn deserialize<'de, T: Named + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);

    impl<'de, T: Named + Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object whose keys are names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut items: Vec<T> = Vec::new();
            while let Some((name, mut item)) = map.next_entry::<String, T>()? {
                if find(&items, &name).is_some() {
                    return Err(A::Error::custom(format!("{name:?} occurs twice")));
                }
                item.set_name(name);
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_map(Items(PhantomData))
}
