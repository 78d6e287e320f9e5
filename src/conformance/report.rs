//! What a list of tests found.

use std::fmt;

use crate::error::Error;

/// Why a test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

impl Broken {
    /// A failure with its reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("an unexpected error: {error}"))
    }
}

/// The outcome of one test.
pub type Check = Result<(), Broken>;

/// The outcome of a list of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Names of the tests that passed.
    pub passed: Vec<&'static str>,
    /// Names of the tests that failed, and why.
    pub failed: Vec<(&'static str, Broken)>,
    /// Names of the tests that do not apply, and why.
    pub skipped: Vec<(&'static str, String)>,
}

impl Report {
    /// Notes the outcome of a test.
    pub fn add(&mut self, test: &'static str, outcome: Check) {
        match outcome {
            Ok(()) => self.passed.push(test),
            Err(broken) => self.failed.push((test, broken)),
        }
    }

    /// Notes a test that does not apply.
    pub fn skip(&mut self, test: &'static str, why: impl Into<String>) {
        self.skipped.push((test, why.into()));
    }

    /// True if at least one test ran and none failed.
    pub fn is_ok(&self) -> bool {
        self.failed.is_empty() && !self.passed.is_empty()
    }

    /// True if `test` failed.
    pub fn has_failed(&self, test: &str) -> bool {
        self.failed.iter().any(|(name, _)| *name == test)
    }

    /// Itself as an error unless [`Report::is_ok`].
    ///
    /// # Errors
    /// The report, if a test failed or none ran.
    pub fn into_result(self) -> Result<Self, Self> {
        if self.is_ok() { Ok(self) } else { Err(self) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed.len(), self.failed.len())?;
        if !self.skipped.is_empty() {
            write!(f, ", {} skipped", self.skipped.len())?;
        }
        for (test, broken) in &self.failed {
            write!(f, "\n  {test}: {broken}")?;
        }
        for (test, why) in &self.skipped {
            write!(f, "\n  {test} skipped: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Fails the test unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Broken::new(format!($($why)+)));
        }
    };
}
pub(crate) use ensure;
