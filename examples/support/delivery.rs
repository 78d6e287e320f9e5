//! What both receivers of webhooks share: the pipeline, and signed requests that are sent to oneself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::queue::MemoryQueue;
use crm_sync::store::MemoryStore;
use crm_sync::sync::Inbound;
use crm_sync::webhook::{DealWon, HmacVerifier, JsonEvents, LeadConverted, OptOutChange, Router, Secrets};

pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const PATH: &str = "/webhooks/crm";

/// The guide's scheme with a signed time: `x-signature: t=<seconds>,v1=<hex>`.
pub(crate) fn verifier(secret: &str) -> Result<HmacVerifier, Fault> {
    Ok(HmacVerifier::timestamped("crm", Secrets::new("current", secret.to_owned())?, "x-signature"))
}

/// Queue and store in memory; a host takes those of its database.
pub(crate) fn inbound(secret: &str, host: &Host) -> Result<Arc<Inbound>, Fault> {
    let (queue, store) = (Arc::new(MemoryQueue::new(host.clone())), Arc::new(MemoryStore::new(host.clone())));
    Ok(Arc::new(Inbound::new("crm:example", verifier(secret)?, JsonEvents::default(), queue, store, host.clone())))
}

/// The guide's handlers, and how many events they took.
pub(crate) fn router(taken: Arc<AtomicUsize>) -> Router<'static> {
    let count = move || {
        taken.fetch_add(1, Ordering::SeqCst);
    };
    let (lead, deal, contact) = (count.clone(), count.clone(), count);
    Router::new()
        .on_lead_converted(move |event: LeadConverted| {
            lead();
            async move {
                println!("lead {} was converted", event.lead_id);
                Ok(())
            }
        })
        .on_deal_won(move |event: DealWon| {
            deal();
            async move {
                println!("deal {} was won", event.deal_id);
                Ok(())
            }
        })
        .on_opt_out(move |event: OptOutChange| {
            contact();
            async move {
                println!("contact {} changed its mind about e-mail", event.contact_id);
                Ok(())
            }
        })
        .otherwise(|event| async move {
            println!("nobody is registered for {}", event.kind);
            Ok(())
        })
}

/// Signed, repeated and forged requests to the running receiver.
pub(crate) async fn self_test(base: &str, secret: &str, inbound: &Inbound, host: &Host) -> Result<(), Fault> {
    let transport = ReqwestTransport::loopback()?;
    let url = format!("{base}{PATH}");
    let body = br#"[{"type": "lead.converted", "id": "e1", "data": {"leadId": "00Q1", "contactId": "0031"}},
        {"type": "deal.won", "id": "e2", "data": {"dealId": 7, "amount": "12.50"}},
        {"type": "lead.painted", "id": "e3", "data": {}}]"#;
    let mut signed = verifier(secret)?.sign(&url, body, host.now())?;
    let send = async |headers: &http::HeaderMap, body: &[u8]| -> Result<u16, Fault> {
        let mut request = http::Request::post(&url).body(bytes::Bytes::copy_from_slice(body))?;
        *request.headers_mut() = headers.clone();
        Ok(transport.send(request).await?.status().as_u16())
    };
    let first = send(&signed, body).await?;
    let again = send(&signed, body).await?;
    let changed = send(&signed, &[body.as_slice(), b" "].concat()).await?;
    signed.remove("x-signature");
    let bare = send(&signed, body).await?;
    let huge = send(&signed, &vec![b' '; 2 << 20]).await?;
    if (first, again, changed, bare) != (200, 200, 401, 401) || !matches!(huge, 401 | 413) {
        return Err(format!("the answers were {first}, {again}, {changed}, {bare}, {huge}").into());
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let router = router(Arc::clone(&taken));
    let mut unknown = 0;
    loop {
        let worked = inbound.work(&router, 100).await?;
        if worked.is_idle() {
            break;
        }
        unknown += worked.unknown;
    }
    if (taken.load(Ordering::SeqCst), unknown) != (2, 1) {
        return Err("the events did not come through once each".into());
    }
    println!("self-test: accepted once, repeated without effect, forged refused {:?}", inbound.refused());
    Ok(())
}
