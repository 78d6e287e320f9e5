//! Jobs in the sandbox's log: the small part anew with each change, the large ones once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::sandbox::salesforce::bulk::job::{Done, Job, Jobs, ResultFile};

/// What has changed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct JobLines<'a> {
    jobs: Vec<JobLine<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct JobLine<'a> {
    job: &'a Job,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    done: Vec<&'a [Done]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a ResultFile>,
}

/// The same, read back.
#[derive(Debug, Deserialize)]
pub(crate) struct OwnedJobLines {
    jobs: Vec<OwnedJobLine>,
    #[serde(default)]
    gone: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct OwnedJobLine {
    job: Job,
    upload: Option<String>,
    #[serde(default)]
    done: Vec<Vec<Done>>,
    file: Option<ResultFile>,
}

impl Jobs {
    /// What differs from `saved`; `None` if nothing does.
    pub(crate) fn changes<'a>(&'a self, saved: &'a Self) -> Option<JobLines<'a>> {
        if self.stamp() == saved.stamp() {
            return None;
        }
        let jobs = self.all.values().filter_map(|job| {
            let known = saved.all.get(&job.id);
            if known.is_some_and(|known| known.revision == job.revision) {
                return None;
            }
            let written = known.map_or(0, |known| known.done.len());
            Some(JobLine {
                job,
                upload: job.upload.as_deref().filter(|_| known.is_none_or(|known| known.upload.is_none())),
                done: job.done.iter().skip(written).map(AsRef::as_ref).collect(),
                file: job.file.as_deref().filter(|_| known.is_none_or(|known| known.file.is_none())),
            })
        });
        let gone = saved.all.keys().filter(|id| !self.all.contains_key(*id)).map(String::as_str).collect();
        Some(JobLines { jobs: jobs.collect(), gone })
    }

    /// Applies what the log says.
    pub(crate) fn replay(&mut self, lines: OwnedJobLines) {
        for line in lines.jobs {
            let OwnedJobLine { mut job, upload, done, file } = line;
            if let Some(known) = self.all.remove(&job.id) {
                job.upload = known.upload;
                job.done = known.done;
                job.file = known.file;
            }
            job.upload = upload.map(Arc::from).or(job.upload);
            job.done.extend(done.into_iter().map(Arc::from));
            job.file = file.map(Arc::new).or(job.file);
            self.add(job);
        }
        for id in lines.gone {
            self.remove(&id);
        }
    }
}
