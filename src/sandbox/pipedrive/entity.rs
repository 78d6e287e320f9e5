//! What v2 lets be written, read, filtered and sorted, entity by entity (OpenAPI document of v2).

/// The type of a member of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ActivityType,
    Address,
    Attendees,
    Bool,
    Category,
    Clock,
    Contacts,
    Currency,
    Custom,
    Day,
    Deal,
    /// Taken and forgotten.
    Forgotten,
    Instant,
    Int,
    Labels,
    Lead,
    Length,
    Name,
    Num,
    OldInstant,
    OneOf(&'static [&'static str]),
    Org,
    Participants,
    Person,
    Pipeline,
    Prices,
    Stage,
    Text,
    User,
    Visible,
    /// An option of the built-in field of this name.
    Choice,
}

/// When a member may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Create,
    /// Only if contact sync was set up.
    ContactSync,
    /// Only if the organization details are enabled.
    Details,
}

/// A member of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Null clears it.
    pub(crate) null: bool,
    pub(crate) when: When,
}

const fn m(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, null: false, when: When::Always }
}

const fn n(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, null: true, when: When::Always }
}

const fn w(name: &'static str, kind: Kind, when: When) -> Member {
    Member { name, kind, null: true, when }
}

/// An entity of v2.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) name: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) members: &'static [Member],
    pub(crate) required: &'static [&'static str],
    /// What answers show, besides `custom_fields`.
    pub(crate) shown: &'static [&'static str],
    pub(crate) sort: &'static [&'static str],
    /// Filters that compare a member with a number.
    pub(crate) filters: &'static [&'static str],
    pub(crate) include: &'static [&'static str],
    pub(crate) custom: bool,
    pub(crate) ids: bool,
    pub(crate) since: bool,
    pub(crate) until: bool,
    /// Labels and options can be asked for with their names.
    pub(crate) labels: bool,
    pub(crate) created: u16,
}

const MARKETING: &[&str] = &["no_consent", "unsubscribed", "subscribed", "archived"];
const BILLING: &[&str] = &["one-time", "annually", "semi-annually", "quarterly", "monthly", "weekly"];

const PERSON: Entity = Entity {
    name: "person",
    plural: "persons",
    members: &[
        m("name", Kind::Name),
        n("first_name", Kind::Text),
        n("last_name", Kind::Text),
        m("owner_id", Kind::User),
        n("org_id", Kind::Org),
        w("add_time", Kind::Instant, When::Create),
        n("emails", Kind::Contacts),
        n("phones", Kind::Contacts),
        m("visible_to", Kind::Visible),
        n("label_ids", Kind::Labels),
        w("postal_address", Kind::Address, When::ContactSync),
        w("notes", Kind::Text, When::ContactSync),
        w("im", Kind::Contacts, When::ContactSync),
        w("birthday", Kind::Day, When::ContactSync),
        w("job_title", Kind::Text, When::ContactSync),
        m("marketing_status", Kind::OneOf(MARKETING)),
        n("custom_fields", Kind::Custom),
    ],
    required: &["name"],
    shown: &[
        "id",
        "name",
        "first_name",
        "last_name",
        "owner_id",
        "org_id",
        "add_time",
        "update_time",
        "emails",
        "phones",
        "is_deleted",
        "visible_to",
        "label_ids",
        "picture_id",
    ],
    sort: &["id", "update_time", "add_time"],
    filters: &["owner_id", "org_id", "deal_id"],
    include: &[
        "next_activity_id",
        "last_activity_id",
        "open_deals_count",
        "related_open_deals_count",
        "closed_deals_count",
        "related_closed_deals_count",
        "participant_open_deals_count",
        "participant_closed_deals_count",
        "email_messages_count",
        "activities_count",
        "done_activities_count",
        "undone_activities_count",
        "files_count",
        "notes_count",
        "followers_count",
        "won_deals_count",
        "related_won_deals_count",
        "lost_deals_count",
        "related_lost_deals_count",
        "last_incoming_mail_time",
        "last_outgoing_mail_time",
        "marketing_status",
        "doi_status",
        "smart_bcc_email",
    ],
    custom: true,
    ids: true,
    since: true,
    until: true,
    labels: true,
    created: 200,
};

const ORGANIZATION: Entity = Entity {
    name: "organization",
    plural: "organizations",
    members: &[
        m("name", Kind::Name),
        m("owner_id", Kind::User),
        w("add_time", Kind::Instant, When::Create),
        m("visible_to", Kind::Visible),
        n("label_ids", Kind::Labels),
        n("address", Kind::Address),
        w("website", Kind::Text, When::Details),
        w("linkedin", Kind::Text, When::Details),
        w("industry", Kind::Choice, When::Details),
        w("annual_revenue", Kind::Num, When::Details),
        w("employee_count", Kind::Int, When::Details),
        n("custom_fields", Kind::Custom),
    ],
    required: &["name"],
    shown: &[
        "id",
        "name",
        "owner_id",
        "add_time",
        "update_time",
        "address",
        "is_deleted",
        "visible_to",
        "label_ids",
        "website",
        "linkedin",
        "industry",
        "annual_revenue",
        "employee_count",
    ],
    sort: &["id", "update_time", "add_time"],
    filters: &["owner_id"],
    include: &[
        "next_activity_id",
        "last_activity_id",
        "open_deals_count",
        "related_open_deals_count",
        "closed_deals_count",
        "related_closed_deals_count",
        "email_messages_count",
        "people_count",
        "activities_count",
        "done_activities_count",
        "undone_activities_count",
        "files_count",
        "notes_count",
        "followers_count",
        "won_deals_count",
        "related_won_deals_count",
        "lost_deals_count",
        "related_lost_deals_count",
        "smart_bcc_email",
    ],
    custom: true,
    ids: true,
    since: true,
    until: true,
    labels: true,
    created: 200,
};

const DEAL: Entity = Entity {
    name: "deal",
    plural: "deals",
    members: &[
        m("title", Kind::Name),
        m("owner_id", Kind::User),
        n("person_id", Kind::Person),
        n("org_id", Kind::Org),
        m("pipeline_id", Kind::Pipeline),
        m("stage_id", Kind::Stage),
        n("value", Kind::Num),
        m("currency", Kind::Currency),
        m("is_deleted", Kind::Bool),
        m("is_archived", Kind::Bool),
        n("archive_time", Kind::OldInstant),
        m("status", Kind::OneOf(&["open", "won", "lost"])),
        n("probability", Kind::Num),
        n("lost_reason", Kind::Text),
        m("visible_to", Kind::Visible),
        n("close_time", Kind::Instant),
        n("won_time", Kind::Instant),
        n("lost_time", Kind::Instant),
        n("expected_close_date", Kind::Day),
        n("label_ids", Kind::Labels),
        n("channel_id", Kind::Text),
        w("add_time", Kind::Instant, When::Create),
        w("origin", Kind::Forgotten, When::Create),
        w("origin_id", Kind::Forgotten, When::Create),
        n("custom_fields", Kind::Custom),
    ],
    required: &["title"],
    shown: &[
        "id",
        "title",
        "creator_user_id",
        "owner_id",
        "value",
        "person_id",
        "org_id",
        "stage_id",
        "pipeline_id",
        "currency",
        "archive_time",
        "add_time",
        "update_time",
        "stage_change_time",
        "status",
        "is_archived",
        "is_deleted",
        "probability",
        "lost_reason",
        "visible_to",
        "close_time",
        "won_time",
        "lost_time",
        "local_won_date",
        "local_lost_date",
        "local_close_date",
        "expected_close_date",
        "label_ids",
        "origin",
        "origin_id",
        "channel",
        "channel_id",
        "acv",
        "arr",
        "mrr",
    ],
    sort: &["id", "update_time", "add_time"],
    filters: &["owner_id", "person_id", "org_id", "pipeline_id", "stage_id"],
    include: &[
        "next_activity_id",
        "last_activity_id",
        "first_won_time",
        "products_count",
        "files_count",
        "notes_count",
        "followers_count",
        "email_messages_count",
        "activities_count",
        "done_activities_count",
        "undone_activities_count",
        "participants_count",
        "last_incoming_mail_time",
        "last_outgoing_mail_time",
        "smart_bcc_email",
        "source_lead_id",
    ],
    custom: true,
    ids: true,
    since: true,
    until: true,
    labels: true,
    created: 200,
};

const ACTIVITY: Entity = Entity {
    name: "activity",
    plural: "activities",
    members: &[
        m("subject", Kind::Text),
        m("type", Kind::ActivityType),
        m("owner_id", Kind::User),
        n("deal_id", Kind::Deal),
        n("lead_id", Kind::Lead),
        n("org_id", Kind::Org),
        n("project_id", Kind::Int),
        n("due_date", Kind::Day),
        n("due_time", Kind::Clock),
        n("duration", Kind::Length),
        m("busy", Kind::Bool),
        m("done", Kind::Bool),
        n("location", Kind::Address),
        n("participants", Kind::Participants),
        n("attendees", Kind::Attendees),
        n("public_description", Kind::Text),
        n("priority", Kind::Choice),
        n("note", Kind::Text),
    ],
    required: &[],
    shown: &[
        "id",
        "subject",
        "type",
        "owner_id",
        "creator_user_id",
        "is_deleted",
        "add_time",
        "update_time",
        "deal_id",
        "lead_id",
        "person_id",
        "org_id",
        "project_id",
        "due_date",
        "due_time",
        "duration",
        "busy",
        "done",
        "marked_as_done_time",
        "location",
        "participants",
        "conference_meeting_client",
        "conference_meeting_url",
        "conference_meeting_id",
        "public_description",
        "priority",
        "note",
    ],
    sort: &["id", "update_time", "add_time", "due_date"],
    filters: &["owner_id", "deal_id", "person_id", "org_id"],
    include: &["attendees"],
    custom: false,
    ids: true,
    since: true,
    until: true,
    labels: false,
    created: 200,
};

const PRODUCT: Entity = Entity {
    name: "product",
    plural: "products",
    members: &[
        m("name", Kind::Name),
        n("code", Kind::Text),
        n("description", Kind::Text),
        n("unit", Kind::Text),
        m("tax", Kind::Num),
        n("category", Kind::Category),
        m("owner_id", Kind::User),
        m("is_linkable", Kind::Bool),
        m("visible_to", Kind::Visible),
        m("prices", Kind::Prices),
        n("custom_fields", Kind::Custom),
        m("billing_frequency", Kind::OneOf(BILLING)),
        n("billing_frequency_cycles", Kind::Int),
    ],
    required: &["name"],
    shown: &[
        "id",
        "name",
        "code",
        "description",
        "unit",
        "tax",
        "category",
        "is_linkable",
        "is_deleted",
        "visible_to",
        "owner_id",
        "add_time",
        "update_time",
        "billing_frequency",
        "billing_frequency_cycles",
        "prices",
    ],
    sort: &["id", "name", "add_time", "update_time"],
    filters: &["owner_id"],
    include: &[],
    custom: true,
    ids: true,
    since: true,
    until: false,
    labels: false,
    created: 201,
};

const PIPELINE: Entity = Entity {
    name: "pipeline",
    plural: "pipelines",
    members: &[m("name", Kind::Name), m("is_deal_probability_enabled", Kind::Bool)],
    required: &["name"],
    shown: &["id", "name", "order_nr", "is_deleted", "is_deal_probability_enabled", "add_time", "update_time"],
    sort: &["id", "update_time", "add_time"],
    filters: &[],
    include: &[],
    custom: false,
    ids: false,
    since: false,
    until: false,
    labels: false,
    created: 200,
};

const STAGE: Entity = Entity {
    name: "stage",
    plural: "stages",
    members: &[
        m("name", Kind::Name),
        m("pipeline_id", Kind::Pipeline),
        m("deal_probability", Kind::Int),
        m("is_deal_rot_enabled", Kind::Bool),
        n("days_to_rotten", Kind::Int),
    ],
    required: &["name", "pipeline_id"],
    shown: &[
        "id",
        "order_nr",
        "name",
        "is_deleted",
        "deal_probability",
        "pipeline_id",
        "is_deal_rot_enabled",
        "days_to_rotten",
        "add_time",
        "update_time",
    ],
    sort: &["id", "update_time", "add_time", "order_nr"],
    filters: &["pipeline_id"],
    include: &[],
    custom: false,
    ids: false,
    since: false,
    until: false,
    labels: false,
    created: 200,
};

static ALL: [Entity; 7] = [PERSON, ORGANIZATION, DEAL, ACTIVITY, PRODUCT, PIPELINE, STAGE];

impl Entity {
    pub(crate) fn plural(plural: &str) -> Option<&'static Self> {
        ALL.iter().find(|entity| entity.plural == plural)
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|entity| entity.name == name)
    }

    pub(crate) fn member(&self, name: &str, new: bool) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name && (new || member.when != When::Create))
    }

    /// As answers call it.
    pub(crate) fn title(&self) -> String {
        let mut letters = self.name.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
    }
}

/// Members that only exist once contact sync was set up.
pub(crate) const CONTACT_SYNC: &[&str] = &["notes", "im", "birthday", "job_title", "postal_address"];
