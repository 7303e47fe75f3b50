//! Step 3: the view of the message. Never fails; what is odd about its form is listed.

use crate::limits;
use crate::receive::Received;
use mail::Message;

pub(crate) async fn parse(received: &Received) -> Message {
    let raw = received.raw.clone();
    if raw.len() < limits::OWN_THREAD_OCTETS {
        return Message::parse(raw);
    }
    match tokio::task::spawn_blocking(move || Message::parse(raw)).await {
        Ok(message) => message,
        // a panic of the parser ends this journey with 4xx, as any other of our own
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
