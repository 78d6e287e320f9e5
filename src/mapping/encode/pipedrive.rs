//! Pipedrive, API v2: strict JSON types, options by number, amounts, ranges, times and addresses as objects ("Custom fields").

use serde_json::{Map, Value, json};

use super::encoder::{Encoder, members};
use super::refused::{Encoded, Refused, refused, wrong};
use crate::model::{FieldType, kind_of};

/// The members of an address next to `value` ("Custom fields", address).
const ADDRESS_PARTS: [&str; 10] = [
    "street_number",
    "route",
    "subpremise",
    "sublocality",
    "locality",
    "admin_area_level_1",
    "admin_area_level_2",
    "country",
    "postal_code",
    "formatted_address",
];

/// What hosts call the parts of an address.
const COMMON_PARTS: [(&str, &str); 6] = [
    ("street", "route"),
    ("postalCode", "postal_code"),
    ("zip", "postal_code"),
    ("city", "locality"),
    ("state", "admin_area_level_1"),
    ("country", "country"),
];

/// The lists of a person have a shape of their own, whatever the schema calls them.
pub(super) fn refine(encoder: &mut Encoder) {
    if matches!(encoder.name.as_str(), "emails" | "phones" | "im") {
        encoder.kind = FieldType::ContactPoints;
    }
    if let FieldType::DateTime { whole_seconds } = &mut encoder.kind {
        // Fractions are "not a valid datetime".
        *whole_seconds = true;
    }
}

/// Custom fields have a key of 40 hexadecimal digits; what an activity calls `due_time` is a plain text.
fn is_custom(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn encode(encoder: &Encoder, value: &Value) -> Result<Encoded, Refused> {
    let made = match &encoder.kind {
        FieldType::Picklist => option(encoder, value)?,
        FieldType::MultiPicklist => {
            let mut ids = Vec::new();
            for member in options(value)? {
                let id = option(encoder, &member)?;
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            // An empty list is rejected; null clears.
            if ids.is_empty() { Value::Null } else { Value::Array(ids) }
        }
        FieldType::Id | FieldType::Reference => match value {
            Value::Number(_) => value.clone(),
            Value::String(text) => number(text).unwrap_or_else(|| Value::String(text.trim().to_owned())),
            other => return wrong("the id of a record", other),
        },
        FieldType::Monetary => return monetary(encoder, value),
        FieldType::Time => {
            let zone = value.get("timezone_name").cloned();
            let time = encoder.time(value.get("value").unwrap_or(value))?;
            let text = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
            if !is_custom(&encoder.name) {
                return Ok((Value::String(text.strip_suffix(":00").map_or_else(|| text.clone(), str::to_owned)), None));
            }
            zoned(encoder, Map::from_iter([("value".to_owned(), Value::String(text))]), zone)
        }
        FieldType::DateRange | FieldType::TimeRange => range(encoder, value)?,
        FieldType::Address => address(value)?,
        FieldType::ContactPoints => contact_points(value)?,
        _ => return encoder.plain(value),
    };
    Ok((made, None))
}

fn number(text: &str) -> Option<Value> {
    text.trim().parse::<u64>().ok().map(Value::from)
}

/// The option's id, from itself or its label.
fn option(encoder: &Encoder, value: &Value) -> Result<Value, Refused> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        other => return wrong("the label or the id of an option", other),
    };
    // A number is an id; a text is a label first, for labels may look like numbers.
    let by_label = value.is_string().then(|| encoder.choices.values.iter().find(|(_, label)| *label == text)).flatten();
    let id = match by_label.map(|(id, _)| id.as_str()).or_else(|| encoder.choices.value_of(&text)) {
        Some(id) => id,
        None if encoder.choices.values.is_empty() => text.as_str(),
        None => {
            let hint = encoder.choices.hint(&text);
            return refused("picklist_value", format!("the field has no option of this label or id{hint}"));
        }
    };
    match number(id) {
        Some(id) => Ok(id),
        None if encoder.choices.values.is_empty() && is_custom(&encoder.name) => {
            refused("picklist_value", "options of custom fields are written by number, and without the CRM's schema no label is known")
        }
        None => Ok(Value::String(id.to_owned())),
    }
}

/// The members of a list; of a text such as `A;B`, or `1,2` as API v1 writes it.
fn options(value: &Value) -> Result<Vec<Value>, Refused> {
    match value {
        Value::Array(items) => Ok(items.iter().filter(|item| !item.is_null()).cloned().collect()),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b' ')) => {
            Ok(text.split(',').filter_map(number).collect())
        }
        other => Ok(members(other)?.into_iter().map(Value::String).collect()),
    }
}

fn monetary(encoder: &Encoder, value: &Value) -> Result<Encoded, Refused> {
    // Built-in amounts (a deal's `value`) are numbers with the currency in a field of its own.
    let (amount, currency) = match value {
        Value::Object(map) => {
            let amount = map.get("value").or_else(|| map.get("amount"));
            (amount.cloned().unwrap_or_default(), map.get("currency").and_then(Value::as_str).map(str::to_owned))
        }
        other => (other.clone(), None),
    };
    if amount.is_null() {
        return Ok((Value::Null, None));
    }
    let (number, rounded) = encoder.number(&amount)?;
    let (amount, exact) = crate::mapping::formula::decimal_to_value(number);
    let Some(currency) = currency.or_else(|| encoder.currency.clone()) else {
        return refused(
            "no_currency",
            "the field takes an amount with its currency; give an object {value, currency} or set `currency: EUR`",
        );
    };
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return refused("wrong_format", "the currency is not a code of three capitals such as EUR");
    }
    Ok((json!({"value": amount, "currency": currency}), (rounded || !exact).then_some(super::refused::ROUNDED)))
}

/// With the zone of the value, else with the mapping's, if that is UTC: offsets have no name in the database of zones.
fn zoned(encoder: &Encoder, mut made: Map<String, Value>, zone: Option<Value>) -> Value {
    let utc = encoder.zone.filter(|zone| zone.is_zero()).map(|_| Value::from("UTC"));
    if let Some(zone) = zone.filter(|zone| !zone.is_null()).or(utc) {
        made.insert("timezone_name".to_owned(), zone);
    }
    Value::Object(made)
}

fn range(encoder: &Encoder, value: &Value) -> Result<Value, Refused> {
    let (from, until) = match value {
        Value::Object(map) => {
            let part = |names: [&str; 3]| names.iter().find_map(|name| map.get(*name)).cloned().unwrap_or_default();
            (part(["value", "from", "start"]), part(["until", "to", "end"]))
        }
        Value::Array(items) => match items.as_slice() {
            [from, until] => (from.clone(), until.clone()),
            _ => return refused("wrong_type", "a range is a list of two"),
        },
        Value::String(text) => match text.split_once('/') {
            Some((from, until)) => (Value::from(from), Value::from(until)),
            None => return refused("wrong_type", "a range in one text is written from/until"),
        },
        other => return wrong("a range {value, until}", other),
    };
    let part = |value: &Value| -> Result<Value, Refused> {
        if value.is_null() {
            return refused("wrong_type", "a range needs both ends: {value, until}");
        }
        if encoder.kind == FieldType::DateRange {
            return encoder.date(value).map(|(day, _)| day);
        }
        let time = encoder.time(value)?;
        Ok(Value::String(format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())))
    };
    let made = Map::from_iter([("value".to_owned(), part(&from)?), ("until".to_owned(), part(&until)?)]);
    if encoder.kind == FieldType::DateRange {
        return Ok(Value::Object(made));
    }
    Ok(zoned(encoder, made, value.get("timezone_name").cloned()))
}

fn address(value: &Value) -> Result<Value, Refused> {
    let map = match value {
        Value::String(text) => return Ok(json!({"value": text.trim()})),
        Value::Object(map) => map,
        other => return wrong("an address as a text or as an object of its parts", other),
    };
    let text = |name: &str| map.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let mut made = Map::new();
    for name in ADDRESS_PARTS {
        if let Some(part) = text(name) {
            made.insert(name.to_owned(), part.into());
        }
    }
    for (common, name) in COMMON_PARTS {
        if let Some(part) = text(common)
            && !made.contains_key(name)
        {
            made.insert(name.to_owned(), part.into());
        }
    }
    // Only `value` is needed, and without it nothing is kept.
    let whole = text("value").or_else(|| text("formatted_address")).map(str::to_owned).unwrap_or_else(|| {
        let part = |name: &str| made.get(name).and_then(Value::as_str).unwrap_or_default();
        let lines = [
            format!("{} {}", part("route"), part("street_number")),
            format!("{} {}", part("postal_code"), part("locality")),
            part("admin_area_level_1").to_owned(),
            part("country").to_owned(),
        ];
        lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
    });
    if whole.is_empty() {
        return Ok(Value::Null);
    }
    made.insert("value".to_owned(), whole.into());
    Ok(Value::Object(made))
}

/// Objects of value, label and primary, each value once, exactly one of them primary: the first if none is marked.
fn contact_points(value: &Value) -> Result<Value, Refused> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut points: Vec<Value> = Vec::new();
    let mut primary = None;
    for item in items {
        let (text, label, marked) = match item {
            Value::Null => continue,
            Value::String(text) => (text.as_str(), "work", false),
            Value::Object(map) => {
                let text = |names: &[&str]| names.iter().find_map(|name| map.get(*name)).and_then(Value::as_str);
                let Some(value) = text(&["value", "email", "phone", "number"]) else {
                    return refused("wrong_type", "each item needs a `value`");
                };
                (value, text(&["label", "type"]).unwrap_or("work"), map.get("primary").and_then(Value::as_bool).unwrap_or_default())
            }
            other => {
                return refused("wrong_type", format!("each item is a text or an object with a `value`, and this is {}", kind_of(other)));
            }
        };
        let text = text.trim();
        if text.is_empty() || points.iter().any(|point| point.get("value").and_then(Value::as_str) == Some(text)) {
            continue;
        }
        if marked && primary.is_none() {
            primary = Some(points.len());
        }
        points.push(json!({"value": text, "label": label, "primary": false}));
    }
    if points.is_empty() {
        return Ok(Value::Null);
    }
    if let Some(Value::Object(point)) = points.get_mut(primary.unwrap_or(0)) {
        point.insert("primary".to_owned(), Value::Bool(true));
    }
    Ok(Value::Array(points))
}

/// `None` if plain decoding will do.
pub(super) fn decode(encoder: &Encoder, value: &Value) -> Option<Value> {
    let label = |id: &Value| {
        let text = match id {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            // `include_option_labels=true` answers with the label itself.
            Value::Object(map) => return map.get("label").cloned(),
            _ => return None,
        };
        Some(encoder.choices.label_of(&text).map_or_else(|| id.clone(), Value::from))
    };
    match (&encoder.kind, value) {
        (FieldType::Picklist, value) if !value.is_null() => label(value),
        (FieldType::MultiPicklist, Value::Array(items)) => Some(items.iter().filter_map(label).collect()),
        (FieldType::MultiPicklist, Value::String(text)) => Some(text.split(',').filter_map(number).filter_map(|id| label(&id)).collect()),
        // A host that maps times and texts gets times and texts; a zone or parts that say more stay with them.
        (FieldType::Time | FieldType::Address, Value::Object(map)) => {
            let kept: Map<String, Value> =
                map.iter().filter(|(_, part)| !part.is_null()).map(|(key, part)| (key.clone(), part.clone())).collect();
            match (kept.len(), kept.get("value")) {
                (0, _) => Some(Value::Null),
                (1, Some(only)) => Some(only.clone()),
                _ => Some(Value::Object(kept)),
            }
        }
        (FieldType::Monetary, Value::Object(map)) => {
            let same_currency = encoder.currency.is_some() && map.get("currency").and_then(Value::as_str) == encoder.currency.as_deref();
            // Written without a currency, read without one.
            same_currency.then(|| map.get("value").cloned().unwrap_or_default())
        }
        (FieldType::ContactPoints, Value::Array(items)) => {
            let kept = items.iter().filter(|item| item.get("value").and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty()));
            let points: Vec<&Value> = kept.collect();
            match points.as_slice() {
                [] => Some(Value::Null),
                // One address with the usual label is what a text became.
                [only] if only.get("label").and_then(Value::as_str).is_none_or(|label| label == "work") => only.get("value").cloned(),
                _ => Some(Value::Array(points.into_iter().cloned().collect())),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::encode::Profile;
    use crate::model::{FieldSchema, Picklist, PicklistValue};

    const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

    fn encoder(name: &str, kind: FieldType) -> Encoder {
        let mut field = FieldSchema::new(name, kind);
        let options = [("1", "Hot"), ("2", "Cold"), ("3", "2")].map(|(id, label)| {
            let mut option = PicklistValue::new(id);
            option.label = label.to_owned();
            option
        });
        if matches!(field.kind, FieldType::Picklist | FieldType::MultiPicklist) {
            field.picklist = Some(Picklist { restricted: true, values: options.to_vec() });
        }
        Encoder::new(Profile::Pipedrive, name, Some(&field))
    }

    fn table(encoder: &Encoder, rows: &[(Value, Value)]) {
        for (value, wanted) in rows {
            assert_eq!(encode(encoder, value).map(|(made, _)| made).as_ref(), Ok(wanted), "{value}");
        }
    }

    fn fails(encoder: &Encoder, rows: &[(Value, &str)]) {
        for (value, code) in rows {
            assert_eq!(encode(encoder, value).map_err(|refused| refused.code), Err(*code), "{value}");
        }
    }

    #[test]
    fn options_go_by_number() {
        let one = encoder(KEY, FieldType::Picklist);
        table(&one, &[(json!("Hot"), json!(1)), (json!(2), json!(2)), (json!("1"), json!(1)), (json!("2"), json!(3))]);
        fails(&one, &[(json!("Warm"), "picklist_value"), (json!(9), "picklist_value"), (json!(true), "wrong_type")]);
        assert!(encode(&one, &json!("hot")).unwrap_err().reason.contains("spells it \"Hot\""));
        let many = encoder(KEY, FieldType::MultiPicklist);
        table(
            &many,
            &[
                (json!(["Hot", "Cold", "Hot"]), json!([1, 2])),
                (json!("Hot;Cold"), json!([1, 2])),
                (json!("1,2"), json!([1, 2])),
                (json!([]), Value::Null),
            ],
        );
        assert_eq!(decode(&one, &json!(1)), Some(json!("Hot")));
        assert_eq!(decode(&many, &json!([1, 2])), Some(json!(["Hot", "Cold"])));
        assert_eq!(decode(&many, &json!("1,2")), Some(json!(["Hot", "Cold"])));
        assert_eq!(decode(&one, &json!({"id": 1, "label": "Hot"})), Some(json!("Hot")));
    }

    #[test]
    fn objects_with_their_members() {
        let mut money = encoder(KEY, FieldType::Monetary);
        table(&money, &[(json!({"value": 12.5, "currency": "EUR"}), json!({"value": 12.5, "currency": "EUR"}))]);
        fails(&money, &[(json!(12), "no_currency"), (json!({"value": 1, "currency": "euro"}), "wrong_format")]);
        money.currency = Some("USD".to_owned());
        table(&money, &[(json!(12), json!({"value": 12, "currency": "USD"}))]);
        assert_eq!(decode(&money, &json!({"value": 12, "currency": "USD"})), Some(json!(12)));
        let mut time = encoder(KEY, FieldType::Time);
        table(&time, &[(json!("14:30"), json!({"value": "14:30:00"}))]);
        time.zone = Some(jiff::tz::Offset::UTC);
        table(&time, &[(json!("14:30"), json!({"value": "14:30:00", "timezone_name": "UTC"}))]);
        table(&encoder("due_time", FieldType::Time), &[(json!("14:30:00"), json!("14:30"))]);
        let days = encoder(KEY, FieldType::DateRange);
        let wanted = json!({"value": "2026-01-31", "until": "2026-02-01"});
        table(
            &days,
            &[
                (json!(["2026-01-31", "2026-02-01"]), wanted.clone()),
                (json!("2026-01-31/2026-02-01"), wanted.clone()),
                (json!({"from": "2026-01-31", "to": "2026-02-01"}), wanted.clone()),
                (wanted.clone(), wanted),
            ],
        );
        fails(&days, &[(json!("2026-01-31"), "wrong_type"), (json!({"value": "2026-01-31"}), "wrong_type")]);
        let times = encoder(KEY, FieldType::TimeRange);
        table(&times, &[(json!(["10:00", "11:30"]), json!({"value": "10:00:00", "until": "11:30:00"}))]);
        let place = encoder(KEY, FieldType::Address);
        table(
            &place,
            &[
                (json!(" Main St 1 "), json!({"value": "Main St 1"})),
                (
                    json!({"street": "Main St 1", "city": "Rome", "zip": "00100"}),
                    json!({"value": "Main St 1, 00100 Rome", "route": "Main St 1", "locality": "Rome", "postal_code": "00100"}),
                ),
                (json!({}), Value::Null),
            ],
        );
        assert_eq!(decode(&place, &json!({"value": "Main St 1", "route": null})), Some(json!("Main St 1")));
    }

    #[test]
    fn addresses_of_persons_have_one_primary() {
        let mails = encoder("emails", FieldType::Text);
        table(
            &mails,
            &[
                (json!("a@b.c"), json!([{"value": "a@b.c", "label": "work", "primary": true}])),
                (
                    json!(["a@b.c", "d@e.f", "a@b.c"]),
                    json!([{"value": "a@b.c", "label": "work", "primary": true}, {"value": "d@e.f", "label": "work", "primary": false}]),
                ),
                (
                    json!([{"email": "a@b.c", "type": "home"}, {"value": "d@e.f", "primary": true}]),
                    json!([{"value": "a@b.c", "label": "home", "primary": false}, {"value": "d@e.f", "label": "work", "primary": true}]),
                ),
                (json!([]), Value::Null),
            ],
        );
        fails(&mails, &[(json!([1]), "wrong_type"), (json!([{"label": "x"}]), "wrong_type")]);
        assert_eq!(decode(&mails, &json!([{"value": "a@b.c", "label": "work", "primary": true}])), Some(json!("a@b.c")));
        assert_eq!(decode(&mails, &json!([])), Some(Value::Null));
    }

    #[test]
    fn types_are_strict() {
        table(&encoder("name", FieldType::Text), &[(json!(12), json!("12"))]);
        table(&encoder("owner_id", FieldType::Reference), &[(json!("12"), json!(12)), (json!(7), json!(7))]);
        table(
            &encoder("at", FieldType::DateTime { whole_seconds: false }),
            &[(json!("2026-01-02T03:04:05.678+01:00"), json!("2026-01-02T02:04:05Z"))],
        );
    }
}
