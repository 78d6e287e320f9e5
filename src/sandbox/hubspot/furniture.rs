//! The rows every account begins with: pipelines, owners, a form.

use serde_json::{Value, json};

/// The pipelines of every account: object type, id, row.
pub(crate) fn pipelines(at: &str) -> Vec<(&'static str, &'static str, Value)> {
    let stage = |id: &str, label: &str, order: usize, metadata: Value| {
        json!({"id": id, "label": label, "displayOrder": order, "metadata": metadata, "archived": false, "createdAt": at, "updatedAt": at,
               "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT"})
    };
    let deals: Vec<Value> = [
        ("appointmentscheduled", "Appointment Scheduled", "0.2"),
        ("qualifiedtobuy", "Qualified To Buy", "0.4"),
        ("presentationscheduled", "Presentation Scheduled", "0.6"),
        ("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
        ("contractsent", "Contract Sent", "0.9"),
        ("closedwon", "Closed Won", "1.0"),
        ("closedlost", "Closed Lost", "0.0"),
    ]
    .into_iter()
    .enumerate()
    .map(|(at, (id, label, probability))| {
        stage(id, label, at, json!({"probability": probability, "isClosed": id.starts_with("closed").to_string()}))
    })
    .collect();
    let tickets: Vec<Value> =
        [("1", "New", "OPEN"), ("2", "Waiting on contact", "OPEN"), ("3", "Waiting on us", "OPEN"), ("4", "Closed", "CLOSED")]
            .into_iter()
            .enumerate()
            .map(|(at, (id, label, state))| {
                stage(id, label, at, json!({"ticketState": state, "isClosed": (state == "CLOSED").to_string()}))
            })
            .collect();
    let pipeline = |id: &str, label: &str, stages: Vec<Value>| json!({"id": id, "label": label, "displayOrder": 0, "archived": false, "createdAt": at, "updatedAt": at, "stages": stages});
    vec![("0-3", "default", pipeline("default", "Sales Pipeline", deals)), ("0-5", "0", pipeline("0", "Support Pipeline", tickets))]
}

/// The form every account has: a contact's name and address, the e-mail address required.
pub(crate) fn contact_form(guid: &str, at: &str) -> Value {
    let field = |name: &str, label: &str, kind: &str, required: bool| json!({"objectTypeId": "0-1", "name": name, "label": label, "fieldType": kind, "required": required, "hidden": false, "dependentFields": []});
    let fields = [
        field("email", "Email", "email", true),
        field("firstname", "First name", "single_line_text", false),
        field("lastname", "Last name", "single_line_text", false),
        field("company", "Company", "single_line_text", false),
        field("phone", "Phone", "phone", false),
        field("message", "Message", "multi_line_text", false),
    ];
    let groups: Vec<Value> =
        fields.into_iter().map(|field| json!({"groupType": "default_group", "richTextType": "text", "fields": [field]})).collect();
    json!({"id": guid, "formType": "hubspot", "name": "Contact us", "createdAt": at, "updatedAt": at, "archived": false, "fieldGroups": groups,
        "configuration": {"language": "en", "postSubmitAction": {"type": "thank_you", "value": "Thanks for submitting the form."},
            "recaptchaEnabled": false, "createNewContactForNewEmail": true},
        "displayOptions": {"renderRawHtml": false, "theme": "default_style", "submitButtonText": "Submit"},
        "legalConsentOptions": {"type": "none"}})
}

/// Owners: id, row. The last one has left.
pub(crate) fn owners(at: &str) -> Vec<(&'static str, Value)> {
    [
        ("41629779", 9_586_504, "ada@sandbox.example", "Ada", "Admin", false),
        ("41629780", 9_586_505, "sam@sandbox.example", "Sam", "Seller", false),
        ("41629781", 9_586_506, "gone@sandbox.example", "Gone", "Formerly", true),
    ]
    .into_iter()
    .map(|(id, user, email, first, last, archived)| {
        let active = if archived { Value::Null } else { json!(user) };
        let owner = json!({"id": id, "email": email, "type": "PERSON", "firstName": first, "lastName": last, "userId": active,
            "userIdIncludingInactive": user, "createdAt": at, "updatedAt": at, "archived": archived,
            "teams": [{"id": "178588", "name": "Sales", "primary": true}]});
        (id, owner)
    })
    .collect()
}
