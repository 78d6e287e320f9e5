//! Made-up contacts of twenty fields, the same in each run.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A contact as a program without this library would declare it.
#[allow(dead_code, reason = "one bench only decodes it")]
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Contact {
    pub(crate) id: String,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) mobile: Option<String>,
    pub(crate) company: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) website: Option<String>,
    pub(crate) street: Option<String>,
    pub(crate) city: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) postal_code: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) rating: Option<String>,
    pub(crate) employees: Option<i64>,
    pub(crate) score: Option<f64>,
    pub(crate) opted_out: Option<bool>,
    pub(crate) modified_at: Option<String>,
}

pub(crate) fn contact(n: u32) -> Value {
    json!({
        "id": format!("00Q{n:012}AAA"),
        "first_name": "Ada",
        "last_name": format!("Lovelace {n}"),
        "email": format!("ada.{n}@example.com"),
        "phone": format!("+44 20 7946 {:04}", n % 10_000),
        "mobile": null,
        "company": format!("Analytical Engines {}", n % 97),
        "title": "Head of Computing",
        "website": "https://example.com",
        "street": format!("{} St James's Square", n % 200),
        "city": "London",
        "state": null,
        "postal_code": "SW1Y 4JH",
        "country": "GB",
        "source": "Web",
        "rating": if n.is_multiple_of(3) { "Hot" } else { "Warm" },
        "employees": 10 + n % 500,
        "score": f64::from(n % 1_000) / 10.0,
        "opted_out": n.is_multiple_of(7),
        "modified_at": "2026-01-31T10:00:00.000+0000",
    })
}
