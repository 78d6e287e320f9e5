//! What the command line asks for.

use crate::args::Args;

pub(crate) const USAGE: &str = "\
usage: throughput --crm salesforce|hubspot|pipedrive --url URL --token TOKEN --job JOB --records N [options]

  --job read     reads leads, contacts or persons page by page, N at most
        write    creates N of them in the CRM's batches, through a mapping
        single   creates N of them one by one, with every layer on
        bulk     creates N of them by Bulk API 2.0 and reads every result back (Salesforce)
        upsert   as write, by an external key (Salesforce, HubSpot)
        nothing  connects to nothing: what the program itself takes
  --api-version V   e.g. 60.0 (Salesforce), 2026-03 or v3 (HubSpot)
  --in-flight K     calls under way at once; default 1
  --sum FIELD       with read: adds the field up, as a proof that every value was decoded; the host's name with --neutral
  --neutral         with read: in the host's words, by way of the mapping
  --key FIELD       with upsert: the field of the external key

The last line of the standard output is one JSON object: records, sum, seconds, requests, bytes (bodies both ways), peak_rss (bytes).
Records are really written: use a server for trying things out.";

/// Which CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crm {
    HubSpot,
    Pipedrive,
    Salesforce,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Bulk,
    Nothing,
    Read,
    Single,
    Upsert,
    Write,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) crm: Crm,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) job: Job,
    pub(crate) records: u64,
    pub(crate) version: Option<String>,
    pub(crate) in_flight: usize,
    pub(crate) sum: Option<String>,
    pub(crate) neutral: bool,
    pub(crate) key: Option<String>,
}

const KNOWN: [&str; 9] = ["--api-version", "--crm", "--in-flight", "--job", "--key", "--records", "--sum", "--token", "--url"];

impl Options {
    /// The command line; `None` if help is asked for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(mut line: Vec<String>) -> Result<Option<Self>, String> {
        let neutral = line.iter().position(|word| word == "--neutral").map(|at| line.remove(at)).is_some();
        let Some(args) = Args::of(USAGE, &KNOWN, line)? else { return Ok(None) };
        let number = |name: &str, text: &str| {
            let number = text.replace('_', "").parse::<u64>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| args.wrong(&format!("{name} takes a number above 0, not {text}")))
        };
        args.need("--crm")?;
        args.need("--job")?;
        let crm = args.choice("--crm", &[("salesforce", Crm::Salesforce), ("hubspot", Crm::HubSpot), ("pipedrive", Crm::Pipedrive)])?;
        let jobs = [
            ("read", Job::Read),
            ("write", Job::Write),
            ("single", Job::Single),
            ("bulk", Job::Bulk),
            ("upsert", Job::Upsert),
            ("nothing", Job::Nothing),
        ];
        let job = args.choice("--job", &jobs)?;
        // A read may go to the end, whatever it is.
        let records = match (args.get("--records"), job) {
            (Some(text), _) => number("--records", text)?,
            (None, Job::Read | Job::Nothing) => u64::MAX,
            (None, _) => return Err(args.wrong("--records is missing")),
        };
        if (args.get("--sum").is_some() || neutral) && job != Job::Read {
            return Err(args.wrong("--sum and --neutral go with --job read"));
        }
        match (job, crm) {
            (Job::Bulk, Crm::HubSpot | Crm::Pipedrive) => return Err(args.wrong("Bulk API 2.0 is Salesforce's: use --job write")),
            (Job::Upsert, Crm::Pipedrive) => return Err(args.wrong("Pipedrive has no upsert: use --job write")),
            _ => {}
        }
        let in_flight = args.get("--in-flight").map_or(Ok(1), |text| number("--in-flight", text))?;
        Ok(Some(Self {
            crm,
            url: args.need("--url")?,
            token: args.need("--token")?,
            job,
            records,
            version: args.get("--api-version").map(str::to_owned),
            in_flight: usize::try_from(in_flight).unwrap_or(usize::MAX),
            sum: args.get("--sum").map(str::to_owned),
            neutral,
            key: args.get("--key").map(str::to_owned),
        }))
    }
}
