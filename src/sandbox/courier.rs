//! Outbound messages on their way: what is due, and what the receiver said.

use bytes::Bytes;

use crate::error::Result;
use crate::http::HttpTransport;
use crate::sandbox::api::Sandbox;
use crate::sandbox::salesforce::{OutboundDelivery, acknowledges};

/// An answer to a notification is short.
const LARGEST: usize = 64 * 1024;

impl Sandbox {
    /// The envelopes that are due now, at most 100 notifications each, with the values records have now. They stay in the
    /// queue until [`Sandbox::delivered`] settles them. `instance_url` goes into the envelopes.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the queue cannot be kept.
    pub fn deliveries(&self, instance_url: &str) -> Result<Vec<OutboundDelivery>> {
        let mut world = self.world();
        let due = world.salesforce.next_deliveries(self.host().now(), instance_url.trim_end_matches('/'));
        world.commit()?;
        Ok(due)
    }

    /// Settles a delivery by the receiver's answer, and tells whether it was acknowledged: 2xx with `<Ack>true</Ack>` in a
    /// `notificationsResponse`. Anything else is tried again, after 15 seconds and then twice as long each time, for a day.
    ///
    /// # Errors
    /// As [`Sandbox::deliveries`].
    pub fn delivered(&self, delivery: &OutboundDelivery, status: u16, body: &str) -> Result<bool> {
        let acknowledged = acknowledges(status, body);
        let mut world = self.world();
        world.salesforce.delivered(delivery, acknowledged, self.host().now());
        world.commit().map(|()| acknowledged)
    }

    /// Sends what is due through `transport`, and returns how many envelopes were acknowledged. When dropped, the envelope on
    /// its way stays in the queue and is sent again.
    ///
    /// # Errors
    /// As [`Sandbox::deliveries`]. A receiver that cannot be reached is no error.
    pub async fn send_outbound(&self, transport: &dyn HttpTransport, instance_url: &str) -> Result<usize> {
        let mut acknowledged = 0;
        for delivery in self.deliveries(instance_url)? {
            let request = http::Request::post(delivery.url.as_str())
                .header("content-type", "text/xml; charset=utf-8")
                .header("soapaction", "\"\"")
                .body(Bytes::from(delivery.envelope.clone()));
            let (mut status, mut text) = (0, String::new());
            if let Ok(request) = request
                && let Ok(response) = transport.send(request).await
            {
                status = response.status().as_u16();
                if let Ok(bytes) = response.into_body().bytes(LARGEST).await {
                    text = String::from_utf8_lossy(&bytes).into_owned();
                }
            }
            acknowledged += usize::from(self.delivered(&delivery, status, &text)?);
        }
        Ok(acknowledged)
    }
}
