//! The command lines of the examples: `--name value` or `--name=value`, each once.

use std::io::Write as _;
use std::process::ExitCode;

/// What was asked for, or how the program ends: with the usage on standard output for help, with the mistake on standard error
/// and code 2.
#[allow(dead_code, reason = "some of the examples end in a way of their own")]
pub(crate) fn or_end<T>(asked: Result<Option<T>, String>, usage: &str) -> Result<T, ExitCode> {
    match asked {
        Ok(Some(asked)) => Ok(asked),
        Ok(None) => {
            // Whoever reads it may have seen enough: `--help | head`.
            let _ = writeln!(std::io::stdout(), "{usage}");
            Err(ExitCode::SUCCESS)
        }
        Err(message) => {
            eprintln!("{message}");
            Err(ExitCode::from(2))
        }
    }
}

/// The values of the flags that were given.
pub(crate) struct Args {
    usage: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Args {
    /// Reads the program's arguments; `None` if help is asked for.
    ///
    /// # Errors
    /// What is wrong with them, with the usage below.
    #[allow(dead_code, reason = "one of the examples has words without values and takes those out first")]
    pub(crate) fn read(usage: &'static str, known: &[&'static str]) -> Result<Option<Self>, String> {
        Self::of(usage, known, std::env::args().skip(1).collect())
    }

    /// As [`Args::read`], of a command line that was looked at before.
    ///
    /// # Errors
    /// What is wrong with it, with the usage below.
    pub(crate) fn of(usage: &'static str, known: &[&'static str], line: Vec<String>) -> Result<Option<Self>, String> {
        let mut values = Vec::new();
        let mut args = line.into_iter();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg, None),
            };
            if matches!(name.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            let Some(flag) = known.iter().find(|flag| **flag == name) else {
                return Err(format!("unknown argument {name}\n\n{usage}"));
            };
            let value = value.or_else(|| args.next()).filter(|value| !value.is_empty());
            values.push((*flag, value.ok_or_else(|| format!("{name} needs a value\n\n{usage}"))?));
        }
        Ok(Some(Self { usage, values }))
    }

    /// The value of a flag; the last one, if it stands twice.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a flag that must be there.
    ///
    /// # Errors
    /// That it is missing.
    pub(crate) fn need(&self, name: &str) -> Result<String, String> {
        self.get(name).map(str::to_owned).ok_or_else(|| self.wrong(&format!("{name} is missing")))
    }

    /// One of a few words; the first if the flag is not there.
    ///
    /// # Errors
    /// That it is another word.
    #[allow(dead_code, reason = "one of the examples has no choices")]
    pub(crate) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, String> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let wanted = self.get(name).or(words.first().copied()).unwrap_or_default();
        let hit = choices.iter().find(|(word, _)| *word == wanted);
        hit.map(|(_, value)| *value).ok_or_else(|| self.wrong(&format!("{name} takes {}, not {wanted}", words.join(" or "))))
    }

    /// A message with the usage below.
    pub(crate) fn wrong(&self, message: &str) -> String {
        format!("{message}\n\n{}", self.usage)
    }
}
