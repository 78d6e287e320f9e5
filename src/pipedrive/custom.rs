//! One value model over three shapes of custom fields ("Custom fields"; "Webhooks v2").
//!
//! | shape | monetary | range of days | time | set |
//! | --- | --- | --- | --- | --- |
//! | v2, under `custom_fields` | `{value, currency}` | `{value, until}` | `{value, timezone_name}` | `[1, 2]` |
//! | v1 and leads, flat | `key`, `key_currency` | `key`, `key_until` | `key`, `key_timezone_id` | `"1,2"` |
//! | webhooks | `{type, value, currency}` | `{type, from, until}` | `{type, value, timezone_id}` | `{type, values: [{id}]}` |
//!
//! The shape of v2 is the one records have in this crate: [`CustomValue::to_v2`].

use serde_json::{Map, Number, Value, json};

/// The type of a custom field, by Pipedrive's word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CustomType {
    /// `address`.
    Address,
    /// `date`.
    Date,
    /// `daterange`.
    DateRange,
    /// `double` (and `int` of built-in fields).
    Double,
    /// `enum`: one option.
    Enum,
    /// `monetary`.
    Monetary,
    /// `phone`.
    Phone,
    /// `user`, `org`, `people`: the id of another record.
    Reference(&'static str),
    /// `set`: several options.
    Set,
    /// `varchar`, `varchar_auto`, `text`.
    Text,
    /// `time`.
    Time,
    /// `timerange`.
    TimeRange,
    /// A type this crate does not know; its values go through as they are.
    Other(String),
}

impl CustomType {
    /// By Pipedrive's word.
    pub fn of(word: &str) -> Self {
        match word {
            "address" => Self::Address,
            "date" => Self::Date,
            "daterange" => Self::DateRange,
            "double" | "int" | "integer" => Self::Double,
            "enum" => Self::Enum,
            "monetary" => Self::Monetary,
            "phone" => Self::Phone,
            "user" => Self::Reference("users"),
            "org" | "organization" => Self::Reference("organizations"),
            "people" | "person" => Self::Reference("persons"),
            "set" => Self::Set,
            "varchar" | "varchar_auto" | "text" => Self::Text,
            "time" => Self::Time,
            "timerange" => Self::TimeRange,
            other => Self::Other(other.to_owned()),
        }
    }

    /// True if the search of the CRM looks into fields of this type.
    pub fn is_searchable(&self) -> bool {
        matches!(self, Self::Address | Self::Double | Self::Monetary | Self::Phone | Self::Text)
    }
}

/// The value of a custom field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CustomValue {
    /// An address: `value` and its parts.
    Address(Map<String, Value>),
    /// An amount with its currency.
    Monetary {
        /// How much.
        value: Number,
        /// Three capitals.
        currency: Option<String>,
    },
    /// A first and a last day or time of day.
    Range {
        /// From.
        from: Value,
        /// Until.
        until: Value,
        /// Of times of day: the zone's name.
        zone: Option<String>,
    },
    /// Options, by id; never empty.
    Set(Vec<Value>),
    /// A time of day `HH:MM:SS`.
    Time {
        /// The time.
        value: String,
        /// The zone's name.
        zone: Option<String>,
    },
    /// A text, a number, a day, the id of an option or of a record.
    Plain(Value),
    /// Nothing.
    Empty,
}

/// The parts of an address beside `value`.
const PARTS: [&str; 10] = [
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

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A number, also one that v1 wrote as a text.
pub(crate) fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => serde_json::from_str::<Number>(text.trim()).ok(),
        _ => None,
    }
}

/// An id: v1 writes option ids as texts and records as objects with `value`, `include_option_labels` answers `{id, label}`.
fn id(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.get("id").or_else(|| map.get("value")).map_or(Value::Null, id),
        Value::String(text) => text.trim().parse::<i64>().map_or_else(|_| value.clone(), Value::from),
        other => other.clone(),
    }
}

impl CustomValue {
    /// From the shape of v2.
    pub fn from_v2(kind: &CustomType, value: &Value) -> Self {
        if empty(value) {
            return Self::Empty;
        }
        match (kind, value) {
            (CustomType::Monetary, Value::Object(map)) => match map.get("value").and_then(number) {
                Some(value) => Self::Monetary { value, currency: text(map.get("currency")) },
                None => Self::Empty,
            },
            (CustomType::DateRange | CustomType::TimeRange, Value::Object(map)) => Self::Range {
                from: map.get("value").or_else(|| map.get("from")).cloned().unwrap_or_default(),
                until: map.get("until").cloned().unwrap_or_default(),
                zone: text(map.get("timezone_name")).or_else(|| text(map.get("timezone_id"))),
            }
            .or_empty(),
            (CustomType::Time, Value::Object(map)) => match text(map.get("value")) {
                Some(value) => Self::Time { value, zone: text(map.get("timezone_name")).or_else(|| text(map.get("timezone_id"))) },
                None => Self::Empty,
            },
            (CustomType::Time, Value::String(time)) => Self::Time { value: time.clone(), zone: None },
            (CustomType::Address, Value::String(address)) => Self::Address(Map::from_iter([("value".to_owned(), json!(address))])),
            (CustomType::Address, Value::Object(map)) => {
                let kept = map.iter().filter(|(name, part)| !part.is_null() && (*name == "value" || PARTS.contains(&name.as_str())));
                let kept: Map<String, Value> = kept.map(|(name, part)| (name.clone(), part.clone())).collect();
                if kept.is_empty() { Self::Empty } else { Self::Address(kept) }
            }
            (CustomType::Set, Value::Array(items)) => Self::Set(items.iter().map(id).filter(|id| !id.is_null()).collect()).or_empty(),
            (CustomType::Set, Value::String(list)) => {
                let ids = list.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
                Self::Set(ids.map(|part| id(&json!(part))).collect()).or_empty()
            }
            (CustomType::Enum | CustomType::Reference(_), value) => Self::Plain(id(value)).or_empty(),
            (CustomType::Double, value) => Self::Plain(number(value).map_or_else(|| value.clone(), Value::Number)),
            (CustomType::Phone, Value::Object(map)) => Self::Plain(map.get("value").cloned().unwrap_or_default()).or_empty(),
            (_, value) => Self::Plain(value.clone()),
        }
    }

    /// From the flat shape of v1 and leads: the member `key` of `row` and those that begin with it.
    pub fn from_flat(kind: &CustomType, key: &str, row: &Map<String, Value>) -> Self {
        let part = |suffix: &str| row.get(&format!("{key}_{suffix}"));
        let main = row.get(key).unwrap_or(&Value::Null);
        match kind {
            CustomType::Monetary => match number(main) {
                Some(value) => Self::Monetary { value, currency: text(part("currency")) },
                None => Self::Empty,
            },
            CustomType::DateRange | CustomType::TimeRange => Self::Range {
                from: main.clone(),
                until: part("until").cloned().unwrap_or_default(),
                zone: text(part("timezone_name")).or_else(|| text(part("timezone_id"))),
            }
            .or_empty(),
            CustomType::Time => match text(Some(main)) {
                Some(value) => Self::Time { value, zone: text(part("timezone_name")).or_else(|| text(part("timezone_id"))) },
                None => Self::Empty,
            },
            CustomType::Address if main.is_string() => {
                let mut map = Map::from_iter([("value".to_owned(), main.clone())]);
                for name in PARTS {
                    if let Some(value) = part(name).filter(|value| !value.is_null()) {
                        map.insert(name.to_owned(), value.clone());
                    }
                }
                Self::Address(map).or_empty()
            }
            kind => Self::from_v2(kind, main),
        }
    }

    /// From the typed object of a webhook.
    pub fn from_webhook(value: &Value) -> Self {
        let Some(map) = value.as_object() else {
            return if empty(value) { Self::Empty } else { Self::Plain(value.clone()) };
        };
        let kind = map.get("type").and_then(Value::as_str).map_or_else(|| CustomType::Other(String::new()), CustomType::of);
        match &kind {
            CustomType::Enum | CustomType::Reference(_) => Self::Plain(map.get("id").map_or(Value::Null, id)).or_empty(),
            CustomType::Set => {
                let values = map.get("values").and_then(Value::as_array);
                Self::Set(values.into_iter().flatten().map(id).filter(|id| !id.is_null()).collect()).or_empty()
            }
            CustomType::Monetary | CustomType::DateRange | CustomType::TimeRange | CustomType::Time | CustomType::Address => {
                Self::from_v2(&kind, value)
            }
            _ => Self::Plain(map.get("value").cloned().unwrap_or_default()).or_empty(),
        }
    }

    /// In the shape of v2. An emptied set is null: an empty list is rejected.
    pub fn to_v2(&self) -> Value {
        match self {
            Self::Address(map) => Value::Object(map.clone()),
            Self::Monetary { value, currency } => json!({"value": value, "currency": currency}),
            Self::Range { from, until, zone: None } => json!({"value": from, "until": until}),
            Self::Range { from, until, zone } => json!({"value": from, "until": until, "timezone_name": zone}),
            Self::Set(ids) if ids.is_empty() => Value::Null,
            Self::Set(ids) => Value::Array(ids.clone()),
            Self::Time { value, zone: None } => json!({"value": value}),
            Self::Time { value, zone } => json!({"value": value, "timezone_name": zone}),
            Self::Plain(value) => value.clone(),
            Self::Empty => Value::Null,
        }
    }

    /// Into the flat shape of v1 and leads: null unsets the field and what begins with its key.
    pub fn put_flat(&self, kind: &CustomType, key: &str, row: &mut Map<String, Value>) {
        let mut put = |suffix: &str, value: Value| {
            row.insert(if suffix.is_empty() { key.to_owned() } else { format!("{key}_{suffix}") }, value);
        };
        match self {
            Self::Address(map) => map.iter().for_each(|(name, part)| put(if name == "value" { "" } else { name }, part.clone())),
            Self::Monetary { value, currency } => {
                put("", json!(value));
                if let Some(currency) = currency {
                    put("currency", json!(currency));
                }
            }
            Self::Range { from, until, zone } => {
                put("", from.clone());
                put("until", until.clone());
                if let Some(zone) = zone {
                    put("timezone_id", json!(zone));
                }
            }
            Self::Set(ids) => {
                let list: Vec<String> = ids.iter().map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).collect();
                put("", if list.is_empty() { Value::Null } else { json!(list.join(",")) });
            }
            Self::Time { value, zone } => {
                put("", json!(value));
                if let Some(zone) = zone {
                    put("timezone_id", json!(zone));
                }
            }
            Self::Plain(Value::Number(id)) if *kind == CustomType::Enum => put("", json!(id.to_string())),
            Self::Plain(value) => put("", value.clone()),
            Self::Empty => put("", Value::Null),
        }
    }

    fn or_empty(self) -> Self {
        match &self {
            Self::Set(ids) if ids.is_empty() => Self::Empty,
            Self::Plain(value) if empty(value) => Self::Empty,
            Self::Range { from, until, .. } if empty(from) && empty(until) => Self::Empty,
            Self::Address(map) if map.values().all(empty) => Self::Empty,
            _ => self,
        }
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Custom fields have keys of 40 hexadecimal digits, other ones in every account.
pub(crate) fn is_key(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

    /// For each type the same value in the three shapes.
    #[test]
    fn three_shapes_of_one_value() {
        let cases = [
            ("varchar", json!("a"), json!({"": "a"}), json!({"type": "varchar", "value": "a"})),
            ("double", json!(1.5), json!({"": 1.5}), json!({"type": "double", "value": 1.5})),
            (
                "monetary",
                json!({"value": 10, "currency": "EUR"}),
                json!({"": 10, "_currency": "EUR"}),
                json!({"type": "monetary", "value": 10, "currency": "EUR"}),
            ),
            ("enum", json!(17), json!({"": "17"}), json!({"type": "enum", "id": 17})),
            ("set", json!([13, 14]), json!({"": "13,14"}), json!({"type": "set", "values": [{"id": 13}, {"id": 14}]})),
            ("people", json!(5), json!({"": 5}), json!({"type": "people", "id": 5})),
            ("org", json!(5), json!({"": 5}), json!({"type": "org", "id": 5})),
            ("user", json!(5), json!({"": 5}), json!({"type": "user", "id": 5})),
            ("date", json!("2026-01-31"), json!({"": "2026-01-31"}), json!({"type": "date", "value": "2026-01-31"})),
            (
                "daterange",
                json!({"value": "2026-01-01", "until": "2026-01-31"}),
                json!({"": "2026-01-01", "_until": "2026-01-31"}),
                json!({"type": "daterange", "from": "2026-01-01", "until": "2026-01-31"}),
            ),
            (
                "time",
                json!({"value": "10:00:00", "timezone_name": "Europe/Berlin"}),
                json!({"": "10:00:00", "_timezone_id": "Europe/Berlin"}),
                json!({"type": "time", "value": "10:00:00", "timezone_id": "Europe/Berlin"}),
            ),
            (
                "timerange",
                json!({"value": "10:00:00", "until": "11:00:00", "timezone_name": "UTC"}),
                json!({"": "10:00:00", "_until": "11:00:00", "_timezone_id": "UTC"}),
                json!({"type": "timerange", "from": "10:00:00", "until": "11:00:00", "timezone_id": "UTC"}),
            ),
            (
                "address",
                json!({"value": "Main St 1", "locality": "Ghent"}),
                json!({"": "Main St 1", "_locality": "Ghent"}),
                json!({"type": "address", "value": "Main St 1", "locality": "Ghent", "country": null}),
            ),
            ("phone", json!("+1 2"), json!({"": "+1 2"}), json!({"type": "phone", "value": "+1 2"})),
        ];
        for (word, v2, flat, webhook) in cases {
            let kind = CustomType::of(word);
            let value = CustomValue::from_v2(&kind, &v2);
            assert_eq!(value.to_v2(), v2, "{word} v2");
            let row: Map<String, Value> =
                flat.as_object().unwrap().iter().map(|(part, value)| (format!("{KEY}{part}"), value.clone())).collect();
            assert_eq!(CustomValue::from_flat(&kind, KEY, &row), value, "{word} flat");
            let mut written = Map::new();
            value.put_flat(&kind, KEY, &mut written);
            assert_eq!(written, row, "{word} flat, written");
            assert_eq!(CustomValue::from_webhook(&webhook), value, "{word} webhook");
        }
    }

    #[test]
    fn nothing_is_null_in_every_shape() {
        for word in ["varchar", "double", "monetary", "enum", "set", "user", "date", "daterange", "time", "timerange", "address", "phone"] {
            let kind = CustomType::of(word);
            for nothing in [json!(null), json!(""), json!([]), json!({})] {
                assert_eq!(CustomValue::from_v2(&kind, &nothing).to_v2(), Value::Null, "{word}");
            }
            assert_eq!(CustomValue::from_flat(&kind, KEY, &Map::new()), CustomValue::Empty, "{word}");
            let mut row = Map::new();
            CustomValue::Empty.put_flat(&kind, KEY, &mut row);
            assert_eq!(row[KEY], Value::Null, "{word}");
        }
        assert_eq!(CustomValue::from_webhook(&Value::Null), CustomValue::Empty);
    }

    #[test]
    fn labels_beside_ids_and_objects_of_v1() {
        let option = json!({"id": 3, "label": "Hot"});
        assert_eq!(CustomValue::from_v2(&CustomType::Enum, &option).to_v2(), json!(3));
        assert_eq!(CustomValue::from_v2(&CustomType::Set, &json!([option])).to_v2(), json!([3]));
        assert_eq!(CustomValue::from_v2(&CustomType::of("user"), &json!({"id": 9, "name": "Jo"})).to_v2(), json!(9));
    }
}
