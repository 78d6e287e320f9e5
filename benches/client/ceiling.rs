//! What one would write by hand for just this: reqwest, and serde over typed structs.
//!
//! It does all the work the job asks for and nothing more: every value of an answer is decoded into a typed struct, every status is
//! looked at, what is written is serialised from typed structs (a file of a bulk job by the csv crate), and every result of a bulk
//! job is read back. It has no mapping, no limit on time or pace, repeats nothing, and knows no error but failure. The same bytes go
//! over the wire, but for what this crate leaves out (an empty address of a person).

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::options::{Crm, Job, Options};

type Outcome<T> = Result<T, reqwest::Error>;

#[allow(dead_code, reason = "decoded, and that is the work")]
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Lead {
    id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    company: Option<String>,
    title: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    mobile_phone: Option<String>,
    website: Option<String>,
    street: Option<String>,
    city: Option<String>,
    state: Option<String>,
    postal_code: Option<String>,
    country: Option<String>,
    industry: Option<String>,
    lead_source: Option<String>,
    rating: Option<String>,
    status: Option<String>,
    number_of_employees: Option<i64>,
    annual_revenue: Option<f64>,
    description: Option<String>,
    system_modstamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leads {
    next_records_url: Option<String>,
    records: Vec<Lead>,
}

#[allow(dead_code, reason = "decoded, and that is the work")]
#[derive(Deserialize)]
pub(crate) struct Properties {
    firstname: Option<String>,
    lastname: Option<String>,
    company: Option<String>,
    jobtitle: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    mobilephone: Option<String>,
    website: Option<String>,
    address: Option<String>,
    city: Option<String>,
    state: Option<String>,
    zip: Option<String>,
    country: Option<String>,
    industry: Option<String>,
    fax: Option<String>,
    salutation: Option<String>,
    hs_lead_status: Option<String>,
    numemployees: Option<String>,
    annualrevenue: Option<String>,
    message: Option<String>,
    hs_object_id: Option<String>,
    createdate: Option<String>,
    lastmodifieddate: Option<String>,
}

#[allow(dead_code, reason = "decoded, and that is the work")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contact {
    id: String,
    properties: Properties,
    created_at: Option<String>,
    updated_at: Option<String>,
    archived: bool,
    object_write_trace_id: Option<String>,
}

#[derive(Deserialize)]
struct Contacts {
    results: Vec<Contact>,
    paging: Option<Paging>,
}

#[derive(Deserialize)]
struct Paging {
    next: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    after: String,
}

#[allow(dead_code, reason = "decoded, and that is the work")]
#[derive(Deserialize)]
struct Point {
    label: Option<String>,
    value: String,
    primary: bool,
}

#[allow(dead_code, reason = "decoded, and that is the work")]
#[derive(Deserialize)]
struct Custom {
    #[serde(rename = "0123456789abcdef0123456789abcdef01234567")]
    job: Option<String>,
    #[serde(rename = "1123456789abcdef0123456789abcdef01234567")]
    score: Option<f64>,
    #[serde(rename = "2123456789abcdef0123456789abcdef01234567")]
    city: Option<String>,
    #[serde(rename = "3123456789abcdef0123456789abcdef01234567")]
    size: Option<i64>,
    #[serde(rename = "4123456789abcdef0123456789abcdef01234567")]
    note: Option<String>,
}

#[allow(dead_code, reason = "decoded, and that is the work")]
#[derive(Deserialize)]
pub(crate) struct Person {
    id: i64,
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    owner_id: Option<i64>,
    org_id: Option<i64>,
    add_time: Option<String>,
    update_time: Option<String>,
    emails: Vec<Point>,
    phones: Vec<Point>,
    is_deleted: bool,
    visible_to: Option<i64>,
    label_ids: Vec<i64>,
    picture_id: Option<i64>,
    marketing_status: Option<String>,
    custom_fields: Custom,
}

#[derive(Deserialize)]
struct Persons {
    data: Vec<Person>,
    additional_data: More,
}

#[derive(Deserialize)]
struct More {
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct OnePerson {
    data: Person,
}

#[allow(dead_code, reason = "decoded, and that is the work")]
#[derive(Deserialize)]
struct Saved {
    id: String,
    success: bool,
}

#[derive(Serialize)]
struct Attributes {
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewLead {
    #[serde(rename = "attributes", skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes>,
    first_name: String,
    last_name: String,
    company: String,
    title: String,
    email: String,
    phone: String,
    mobile_phone: String,
    website: String,
    street: String,
    city: String,
    state: String,
    postal_code: String,
    country: String,
    industry: String,
    lead_source: String,
    rating: String,
    status: String,
    number_of_employees: u64,
    annual_revenue: u64,
    description: String,
}

fn lead(n: u64, attributes: Option<Attributes>) -> NewLead {
    NewLead {
        attributes,
        first_name: "Ada".to_owned(),
        last_name: format!("Lovelace {n}"),
        company: format!("Analytical Engines {}", n % 97),
        title: "Head of Computing".to_owned(),
        email: format!("ada.{n}@example.com"),
        phone: format!("+44 20 7946 {:04}", n % 10_000),
        mobile_phone: format!("+44 7700 90{:04}", n % 10_000),
        website: "https://example.com".to_owned(),
        street: format!("{} St James's Square", n % 200),
        city: "London".to_owned(),
        state: "England".to_owned(),
        postal_code: "SW1Y 4JH".to_owned(),
        country: "United Kingdom".to_owned(),
        industry: "Technology".to_owned(),
        lead_source: "Web".to_owned(),
        rating: if n.is_multiple_of(3) { "Hot" } else { "Warm" }.to_owned(),
        status: "NEW".to_owned(),
        number_of_employees: 10 + n % 500,
        annual_revenue: 1_000 * (n % 900),
        description: "Asked for a demonstration at the fair.".to_owned(),
    }
}

#[derive(Serialize)]
struct NewProperties {
    firstname: String,
    lastname: String,
    company: String,
    jobtitle: String,
    email: String,
    phone: String,
    mobilephone: String,
    website: String,
    address: String,
    city: String,
    state: String,
    zip: String,
    country: String,
    industry: String,
    fax: String,
    salutation: String,
    hs_lead_status: String,
    numemployees: String,
    annualrevenue: String,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewContact {
    #[serde(skip_serializing_if = "Option::is_none")]
    object_write_trace_id: Option<String>,
    properties: NewProperties,
}

fn contact(n: u64, object_write_trace_id: Option<String>) -> NewContact {
    let lead = lead(n, None);
    let properties = NewProperties {
        firstname: lead.first_name,
        lastname: lead.last_name,
        company: lead.company,
        jobtitle: lead.title,
        email: lead.email,
        phone: lead.phone,
        mobilephone: lead.mobile_phone,
        website: lead.website,
        address: lead.street,
        city: lead.city,
        state: lead.state,
        zip: lead.postal_code,
        country: lead.country,
        industry: lead.industry,
        fax: lead.lead_source,
        salutation: lead.rating,
        hs_lead_status: lead.status,
        numemployees: "25-50".to_owned(),
        annualrevenue: lead.annual_revenue.to_string(),
        message: lead.description,
    };
    NewContact { object_write_trace_id, properties }
}

#[derive(Serialize)]
struct NewPoint {
    value: String,
    primary: bool,
    label: &'static str,
}

#[derive(Serialize)]
struct NewPerson {
    name: String,
    emails: [NewPoint; 3],
    phones: [NewPoint; 3],
    visible_to: i64,
    add_time: &'static str,
}

fn person(n: u64) -> NewPerson {
    let points = |first: String, second: String| {
        [
            NewPoint { value: first, primary: true, label: "work" },
            NewPoint { value: second, primary: false, label: "home" },
            NewPoint { value: String::new(), primary: false, label: "other" },
        ]
    };
    NewPerson {
        name: format!("Ada Lovelace {n}"),
        emails: points(format!("ada.{n}@example.com"), format!("lovelace.{n}@example.org")),
        phones: points(format!("+44 20 7946 {:04}", n % 10_000), format!("+44 7700 90{:04}", n % 10_000)),
        visible_to: 3,
        add_time: "2026-01-31T10:00:00Z",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Collection {
    all_or_none: bool,
    records: Vec<NewLead>,
}

#[derive(Serialize)]
struct Inputs {
    inputs: Vec<NewContact>,
}

struct Ceiling<'a> {
    client: reqwest::Client,
    options: &'a Options,
}

/// Does the job by hand, and answers how many records there were.
pub(crate) async fn run(options: &Options) -> u64 {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).tls_certs_only([]).build().unwrap();
    let hand = Ceiling { client, options };
    let outcome = match options.job {
        Job::Read => hand.read().await,
        Job::Write => hand.write().await,
        Job::Single => hand.single().await,
        Job::Bulk => hand.bulk().await,
        Job::Nothing | Job::Upsert => Ok(0),
    };
    outcome.unwrap()
}

impl Ceiling<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.options.url)
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Outcome<T> {
        let body = self.client.get(self.url(path)).bearer_auth("T").send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    async fn post<B: Serialize, T: for<'de> Deserialize<'de>>(&self, path: &str, body: &B) -> Outcome<T> {
        let body = serde_json::to_vec(body).unwrap();
        let request = self.client.post(self.url(path)).bearer_auth("T").header("content-type", "application/json").body(body);
        Ok(serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?).unwrap())
    }

    async fn read(&self) -> Outcome<u64> {
        let mut count = 0;
        match self.options.crm {
            Crm::Salesforce => {
                let mut path = "/services/data/v68.0/query?q=SELECT%20Id%20FROM%20Lead".to_owned();
                loop {
                    let page: Leads = self.get(&path).await?;
                    count += page.records.len() as u64;
                    match page.next_records_url {
                        Some(next) => path = next,
                        None => return Ok(count),
                    }
                }
            }
            Crm::HubSpot => {
                let mut path = "/crm/objects/2026-03/contacts?limit=100".to_owned();
                loop {
                    let page: Contacts = self.get(&path).await?;
                    count += page.results.len() as u64;
                    match page.paging.and_then(|paging| paging.next) {
                        Some(next) => path = format!("/crm/objects/2026-03/contacts?limit=100&after={}", next.after),
                        None => return Ok(count),
                    }
                }
            }
            Crm::Pipedrive => {
                let mut path = "/api/v2/persons?limit=500".to_owned();
                loop {
                    let page: Persons = self.get(&path).await?;
                    count += page.data.len() as u64;
                    match page.additional_data.next_cursor {
                        Some(next) => path = format!("/api/v2/persons?limit=500&cursor={next}"),
                        None => return Ok(count),
                    }
                }
            }
        }
    }

    async fn write(&self) -> Outcome<u64> {
        let records = self.options.records;
        match self.options.crm {
            Crm::Salesforce => {
                let batches = stream::iter((0..records).step_by(200)).map(|start| async move {
                    let row = |n| lead(n, Some(Attributes { r#type: "Lead" }));
                    let body = Collection { all_or_none: false, records: (start..records.min(start + 200)).map(row).collect() };
                    let saved: Vec<Saved> = self.post("/services/data/v68.0/composite/sobjects", &body).await?;
                    Ok(saved.iter().filter(|saved| saved.success).count() as u64)
                });
                batches.buffer_unordered(self.options.in_flight).try_fold(0, |sum, more| async move { Ok(sum + more) }).await
            }
            Crm::HubSpot => {
                let batches = stream::iter((0..records).step_by(100)).map(|start| async move {
                    let row = |n: u64| contact(n, Some(format!("row-{}", n - start)));
                    let body = Inputs { inputs: (start..records.min(start + 100)).map(row).collect() };
                    let saved: Contacts = self.post("/crm/objects/2026-03/contacts/batch/create", &body).await?;
                    Ok(saved.results.iter().filter(|row| row.object_write_trace_id.is_some()).count() as u64)
                });
                batches.buffer_unordered(self.options.in_flight).try_fold(0, |sum, more| async move { Ok(sum + more) }).await
            }
            Crm::Pipedrive => self.single().await,
        }
    }

    async fn single(&self) -> Outcome<u64> {
        let calls = stream::iter(0..self.options.records).map(|n| async move {
            Ok(match self.options.crm {
                Crm::Salesforce => u64::from(self.post::<_, Saved>("/services/data/v68.0/sobjects/Lead", &lead(n, None)).await?.success),
                Crm::HubSpot => {
                    u64::from(!self.post::<_, Contact>("/crm/objects/2026-03/contacts", &contact(n, None)).await?.id.is_empty())
                }
                Crm::Pipedrive => u64::from(self.post::<_, OnePerson>("/api/v2/persons", &person(n)).await?.data.id > 0),
            })
        });
        calls.buffer_unordered(self.options.in_flight).try_fold(0, |sum, more| async move { Ok(sum + more) }).await
    }

    /// One job: a file, the start, a look, and the three result files.
    async fn bulk(&self) -> Outcome<u64> {
        #[derive(Deserialize)]
        struct Info {
            id: String,
            state: String,
        }
        const JOBS: &str = "/services/data/v68.0/jobs/ingest";
        // What goes into one job: 100 MB of text at most.
        let mut count = 0;
        let mut n = 0;
        while n < self.options.records {
            let info: Info = self.post(JOBS, &serde_json::json!({"object": "Lead", "operation": "insert"})).await?;
            let mut file = csv::Writer::from_writer(Vec::new());
            while n < self.options.records && file.get_ref().len() < 16 << 20 {
                file.serialize(lead(n, None)).unwrap();
                n += 1;
            }
            let file = file.into_inner().unwrap();
            let job = format!("{JOBS}/{}", info.id);
            let request = self.client.put(self.url(&format!("{job}/batches"))).bearer_auth("T").header("content-type", "text/csv");
            request.body(file).send().await?.error_for_status()?.bytes().await?;
            let body = serde_json::json!({"state": "UploadComplete"}).to_string();
            self.client.patch(self.url(&job)).bearer_auth("T").body(body).send().await?.error_for_status()?.bytes().await?;
            let info: Info = self.get(&job).await?;
            assert_eq!(info.state, "JobComplete");
            for kind in ["successfulResults", "failedResults", "unprocessedrecords"] {
                let answer = self.client.get(self.url(&format!("{job}/{kind}"))).bearer_auth("T").send().await?.error_for_status()?;
                count += results(answer).await?;
            }
        }
        Ok(count)
    }
}

/// The ids of a result file, read as it comes.
async fn results(answer: reqwest::Response) -> Outcome<u64> {
    let mut reader = csv_core::Reader::new();
    let (mut out, mut ends) = (vec![0_u8; 1 << 16], vec![0_usize; 64]);
    let (mut used, mut fields, mut rows) = (0, 0, 0_u64);
    let mut chunks = answer.bytes_stream();
    let mut take = |input: &[u8]| {
        let mut input = input;
        loop {
            let (result, read, wrote, ended) = reader.read_record(input, &mut out[used..], &mut ends[fields..]);
            input = &input[read..];
            used += wrote;
            fields += ended;
            match result {
                csv_core::ReadRecordResult::Record => {
                    let id = std::str::from_utf8(&out[..ends[0]]).unwrap();
                    rows += u64::from(id.starts_with("00Q"));
                    (used, fields) = (0, 0);
                }
                csv_core::ReadRecordResult::InputEmpty | csv_core::ReadRecordResult::End => return,
                _ => panic!("a row is longer than 64 KiB"),
            }
        }
    };
    while let Some(chunk) = chunks.try_next().await? {
        take(&chunk);
    }
    take(&[]);
    Ok(rows)
}
