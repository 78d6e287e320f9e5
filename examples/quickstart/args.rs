//! The flags, all optional.

use std::path::PathBuf;

pub(crate) const USAGE: &str =
    "usage: quickstart [--input FILE] [--mapping FILE] [--state DIR] [--crm salesforce] [--url URL --token TOKEN] [--plan] [--json]

  --input FILE    leads as CSV            (default: tests/fixtures/leads.csv)
  --mapping FILE  YAML, JSON or TOML      (default: examples/field-mappings.yaml)
  --state DIR     what must be remembered (default: target/quickstart)
  --crm NAME      salesforce
  --url URL       a CRM or sandbox that already runs, instead of the one in this process
  --token TOKEN   its access token
  --plan          stop before writing
  --json          the last line of stdout is one JSON object";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) input: PathBuf,
    pub(crate) mapping: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) crm: String,
    pub(crate) server: Option<(String, String)>,
    pub(crate) plan_only: bool,
    pub(crate) json: bool,
    /// True if the input is the one that comes with the repository, whose truth is known.
    pub(crate) known_input: bool,
}

impl Args {
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut args = Self {
            input: root.join("tests/fixtures/leads.csv"),
            mapping: root.join("examples/field-mappings.yaml"),
            state: root.join("target/quickstart"),
            crm: "salesforce".to_owned(),
            server: None,
            plan_only: false,
            json: false,
            known_input: true,
        };
        let (mut url, mut token) = (None, None);
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{flag} needs a value\n\n{USAGE}"));
            match flag.as_str() {
                "--input" => (args.input, args.known_input) = (value()?.into(), false),
                "--mapping" => args.mapping = value()?.into(),
                "--state" => args.state = value()?.into(),
                "--crm" => args.crm = value()?,
                "--url" => url = Some(value()?),
                "--token" => token = Some(value()?),
                "--plan" => args.plan_only = true,
                "--json" => args.json = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown flag {other}\n\n{USAGE}")),
            }
        }
        if args.crm != "salesforce" {
            return Err(format!("--crm {}: this example speaks to salesforce", args.crm));
        }
        args.server = match (url, token) {
            (Some(url), Some(token)) => Some((url, token)),
            (None, None) => None,
            (Some(_), None) => return Err("--url needs --token, an access token of that CRM".to_owned()),
            (None, Some(_)) => return Err("--token needs --url, the address of the CRM it belongs to".to_owned()),
        };
        Ok(Some(args))
    }
}
