//! SOQL's words for spans of days: `TODAY`, `LAST_N_DAYS:7`, `THIS_FISCAL_QUARTER`.
//!
//! They follow the time zone, locale and fiscal calendar of the user: use instants for watermarks. `LAST_N_DAYS:n` counts today
//! as well; the other `LAST_N` leave the running unit out ("SOQL and SOSL Reference", "Date Formats and Date Literals").

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::error::{Error, Result};

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DateUnit {
    /// A day.
    Day,
    /// A week, beginning as the user's locale says.
    Week,
    /// A month.
    Month,
    /// A quarter of the calendar year.
    Quarter,
    /// A calendar year.
    Year,
    /// A quarter of the org's fiscal year.
    FiscalQuarter,
    /// The org's fiscal year.
    FiscalYear,
}

impl DateUnit {
    const ALL: [Self; 7] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year, Self::FiscalQuarter, Self::FiscalYear];

    fn word(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::Week => "WEEK",
            Self::Month => "MONTH",
            Self::Quarter => "QUARTER",
            Self::Year => "YEAR",
            Self::FiscalQuarter => "FISCAL_QUARTER",
            Self::FiscalYear => "FISCAL_YEAR",
        }
    }
}

/// A span of days, relative to now. Its text is read by [`FromStr`] and written by [`Display`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DateLiteral {
    /// `LAST_90_DAYS`.
    Last90Days,
    /// `NEXT_90_DAYS`.
    Next90Days,
    /// The unit before this one: `YESTERDAY`, `LAST_WEEK`.
    Last(DateUnit),
    /// The running unit: `TODAY`, `THIS_WEEK`.
    This(DateUnit),
    /// The unit after this one: `TOMORROW`, `NEXT_WEEK`.
    Next(DateUnit),
    /// `LAST_N_DAYS:n` and its sisters.
    LastN(u32, DateUnit),
    /// `NEXT_N_DAYS:n` and its sisters.
    NextN(u32, DateUnit),
    /// `N_DAYS_AGO:n` and its sisters.
    Ago(u32, DateUnit),
}

impl Display for DateLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last90Days => f.write_str("LAST_90_DAYS"),
            Self::Next90Days => f.write_str("NEXT_90_DAYS"),
            Self::Last(DateUnit::Day) => f.write_str("YESTERDAY"),
            Self::This(DateUnit::Day) => f.write_str("TODAY"),
            Self::Next(DateUnit::Day) => f.write_str("TOMORROW"),
            Self::Last(unit) => write!(f, "LAST_{}", unit.word()),
            Self::This(unit) => write!(f, "THIS_{}", unit.word()),
            Self::Next(unit) => write!(f, "NEXT_{}", unit.word()),
            Self::LastN(count, unit) => write!(f, "LAST_N_{}S:{count}", unit.word()),
            Self::NextN(count, unit) => write!(f, "NEXT_N_{}S:{count}", unit.word()),
            Self::Ago(count, unit) => write!(f, "N_{}S_AGO:{count}", unit.word()),
        }
    }
}

impl FromStr for DateLiteral {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::config("not a SOQL date literal; write it like TODAY, LAST_MONTH or LAST_N_DAYS:7");
        let upper = text.trim().to_ascii_uppercase();
        let (word, count) = match upper.split_once(':') {
            Some((word, count)) => {
                let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
                (word, Some(count.parse::<u32>().ok().filter(|_| digits).ok_or_else(unknown)?))
            }
            None => (upper.as_str(), None),
        };
        let mut all = vec![Self::Last90Days, Self::Next90Days];
        for unit in DateUnit::ALL {
            all.extend(match count {
                Some(count) => [Self::LastN(count, unit), Self::NextN(count, unit), Self::Ago(count, unit)],
                None => [Self::Last(unit), Self::This(unit), Self::Next(unit)],
            });
        }
        let wanted = count.map_or_else(|| word.to_owned(), |count| format!("{word}:{count}"));
        all.into_iter().find(|literal| literal.to_string() == wanted).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_are_read_and_written() {
        let mut count = 0;
        for head in ["LAST", "THIS", "NEXT"] {
            for unit in ["WEEK", "MONTH", "QUARTER", "YEAR", "FISCAL_QUARTER", "FISCAL_YEAR"] {
                let text = format!("{head}_{unit}");
                assert_eq!(text.parse::<DateLiteral>().unwrap().to_string(), text);
                count += 1;
            }
        }
        for unit in ["DAYS", "WEEKS", "MONTHS", "QUARTERS", "YEARS", "FISCAL_QUARTERS", "FISCAL_YEARS"] {
            for text in [format!("LAST_N_{unit}:7"), format!("NEXT_N_{unit}:12"), format!("N_{unit}_AGO:1")] {
                assert_eq!(text.to_lowercase().parse::<DateLiteral>().unwrap().to_string(), text);
                count += 1;
            }
        }
        for text in ["YESTERDAY", "TODAY", "TOMORROW", "LAST_90_DAYS", "NEXT_90_DAYS"] {
            assert_eq!(text.parse::<DateLiteral>().unwrap().to_string(), text);
            count += 1;
        }
        assert_eq!(count, 44);
        for bad in
            ["", "TODAY:1", "LAST_N_DAYS", "LAST_N_DAYS:", "LAST_N_DAYS:-1", "LAST_N_DAYS:+1", "TODAY OR 1=1", "LAST_DAY", "THIS_N_DAYS:1"]
        {
            assert!(bad.parse::<DateLiteral>().is_err(), "{bad}");
        }
    }
}
