//! The journal entry of a journey under way: exactly one, whatever happens.

use crate::receive::Received;
use mail::HeaderSection;
use smtp::Reply;
use std::future::Future;
use std::time::Instant;
use store::{JourneyEntry, Outcome, StepTime};

/// As it stands in the header, so that a message that is refused before it is parsed can be found too.
fn written_id(received: &Received) -> Option<String> {
    let field = HeaderSection::of(&received.raw).fields().find(|f| f.is("Message-ID"))?;
    Some(field.text().trim().trim_matches(['<', '>']).to_owned()).filter(|id| !id.is_empty())
}

/// Filled by the steps as they go.
pub(crate) struct Log {
    pub entry: JourneyEntry,
}

impl Log {
    pub(crate) fn begin(received: &Received) -> Log {
        let entry = JourneyEntry {
            id: received.id.clone(),
            tenant: None,
            direction: None,
            started: received.at,
            peer: received.peer.to_string(),
            sender: received.envelope.sender.clone(),
            recipients: received.envelope.recipients.iter().map(|r| r.address.clone()).collect(),
            message_id: written_id(received),
            subject: None,
            bytes: received.raw.len() as u64,
            proofs: verdict::Proofs::default(),
            anomalies: Vec::new(),
            findings: Vec::new(),
            decision: None,
            edits: Vec::new(),
            outcome: Outcome::Deferred,
            reply: String::new(),
            returned: None,
            held: None,
            visits: 1,
            probe: None,
            newest_token: false,
            steps: vec![StepTime { step: "receive".into(), micros: received.micros }],
        };
        Log { entry }
    }

    /// Runs one step and writes down what it took.
    pub(crate) async fn step<T>(&mut self, name: &str, step: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = step.await;
        self.entry.steps.push(StepTime {
            step: name.into(),
            micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        result
    }

    pub(crate) fn end(mut self, outcome: Outcome, reply: &Reply) -> JourneyEntry {
        self.entry.outcome = outcome;
        self.entry.reply = reply.to_string();
        self.entry
    }
}
