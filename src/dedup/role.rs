//! What a value is about: the only thing a caller has to say about its fields.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a field holds, whatever it is called in the CRM or the file.
///
/// As text it is one lower-case word: `"first"`, `"house_number"`, ...
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Date of birth, `1970-12-31` or `19701231`.
    BirthDate,
    /// City, suburb or place of birth.
    City,
    /// The employer's name, or the company's own name when the record has no personal name.
    Company,
    /// Country, by name or ISO code.
    Country,
    /// E-mail address.
    Email,
    /// Given name.
    First,
    /// Whole personal name in one field.
    Full,
    /// Gender.
    Gender,
    /// House number, when it stands apart from the street.
    HouseNumber,
    /// A number that names one person or company: tax, insurance or customer number.
    Identifier,
    /// Family name.
    Last,
    /// Anything else that tends to agree between duplicates: industry, language.
    Other,
    /// Telephone number.
    Phone,
    /// Postal code.
    PostalCode,
    /// State, province or county.
    Region,
    /// Street, with or without the house number.
    Street,
    /// Job title or occupation.
    Title,
    /// Web site.
    Website,
}

impl Role {
    /// Every role with its word, in the order documentation lists them.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::First, "first"),
        (Self::Last, "last"),
        (Self::Full, "full"),
        (Self::Email, "email"),
        (Self::Phone, "phone"),
        (Self::Company, "company"),
        (Self::Title, "title"),
        (Self::Website, "website"),
        (Self::Street, "street"),
        (Self::HouseNumber, "house_number"),
        (Self::City, "city"),
        (Self::PostalCode, "postal_code"),
        (Self::Region, "region"),
        (Self::Country, "country"),
        (Self::BirthDate, "birth_date"),
        (Self::Identifier, "identifier"),
        (Self::Gender, "gender"),
        (Self::Other, "other"),
    ];

    /// The role's word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("other", |(_, word)| word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    /// Reads a role's word, in any case.
    ///
    /// # Errors
    /// `Config`, listing the known words, if there is no such role.
    fn from_str(text: &str) -> Result<Self, Error> {
        let word = text.trim().to_ascii_lowercase();
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(role, _)| *role).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
            Error::config(format!("unknown role `{word}`; use one of {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for (role, word) in Role::ALL {
            assert_eq!(word.parse::<Role>().unwrap(), role);
            assert_eq!(role.to_string(), word);
            assert_eq!(serde_json::to_value(role).unwrap(), word);
        }
        assert!("surname".parse::<Role>().unwrap_err().to_string().contains("postal_code"));
    }
}
