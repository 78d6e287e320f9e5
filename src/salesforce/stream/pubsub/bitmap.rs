//! Lists of fields as bitmaps (Pub/Sub API guide, "Event Deserialization Considerations").
//!
//! `0x400800` names the fields 11 and 22 of the event, `4-0x01` the first component of its field 4. Bit 0 is the lowest.

use crate::salesforce::stream::pubsub::schema::Shape;

/// The names, a compound's component after a dot; a compound as a whole is all of its components. `None` if the bitmaps do not
/// belong to these fields.
pub(super) fn names<'a>(maps: impl IntoIterator<Item = &'a str>, fields: &[Shape]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for map in maps {
        match map.split_once('-') {
            None => {
                for at in bits(map)? {
                    let field = fields.get(at)?;
                    match field.components.as_slice() {
                        [] => names.push(field.name.clone()),
                        components => names.extend(components.iter().map(|component| format!("{}.{component}", field.name))),
                    }
                }
            }
            Some((parent, map)) => {
                let field = fields.get(parent.trim().parse::<usize>().ok()?)?;
                for at in bits(map)? {
                    names.push(format!("{}.{}", field.name, field.components.get(at)?));
                }
            }
        }
    }
    Some(names)
}

/// The places of the bits that are set, lowest first.
fn bits(map: &str) -> Option<Vec<usize>> {
    let digits = map.trim().strip_prefix("0x").or_else(|| map.trim().strip_prefix("0X"))?;
    let mut set = Vec::new();
    for (place, digit) in digits.chars().rev().enumerate() {
        let digit = digit.to_digit(16)?;
        set.extend((0..4).filter(|bit| digit >> bit & 1 == 1).map(|bit| place * 4 + bit));
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors() {
        for (map, places) in [
            ("0x400800", vec![11, 22]),
            ("0x400000", vec![22]),
            ("0x01", vec![0]),
            ("0x400080", vec![7, 22]),
            ("0x650004E0", vec![5, 6, 7, 10, 24, 26, 29, 30]),
            ("0x", vec![]),
            ("0x100000000000000000000000000000000000", vec![140]),
        ] {
            assert_eq!(bits(map).unwrap(), places, "{map}");
        }
        assert_eq!((bits("400800"), bits("0xZZ")), (None, None));
    }

    #[test]
    fn names_of_fields_and_components() {
        let shape = |name: &str, components: &[&str]| Shape::of(name, components);
        let fields = [shape("ChangeEventHeader", &[]), shape("Title", &[]), shape("Address", &["Street", "City"])];
        let of = |maps: &[&str]| names(maps.iter().copied(), &fields);
        assert_eq!(of(&["0x02", "2-0x02"]).unwrap(), ["Title", "Address.City"]);
        assert_eq!(of(&["0x04"]).unwrap(), ["Address.Street", "Address.City"], "a whole compound is all of it");
        assert_eq!(of(&[]).unwrap(), Vec::<String>::new());
        assert_eq!((of(&["0x08"]), of(&["2-0x04"]), of(&["9-0x01"]), of(&["x"])), (None, None, None, None));
    }
}
