//! The journal entry of a journey under way: exactly one, whatever happens.

use crate::faults::Fault;
use crate::judgements::Judgement;
use crate::metrics::fault_kind;
use crate::receive::Received;
use mail::HeaderSection;
use smtp::Reply;
use std::future::Future;
use std::time::Instant;
use store::{JourneyEntry, Outcome, StepTime};
use tracing::Instrument;

/// As it stands in the header, so that a message that is refused before it is parsed can be found too.
fn written_id(received: &Received) -> Option<String> {
    let field = HeaderSection::of(&received.raw).fields().find(|f| f.is("Message-ID"))?;
    Some(field.text().trim().trim_matches(['<', '>']).to_owned()).filter(|id| !id.is_empty())
}

/// Filled by the steps as they go.
pub(crate) struct Log {
    pub entry: JourneyEntry,
    /// The fault that the journey met, as the metrics call it.
    pub fault: Option<&'static str>,
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
            from: None,
            reply_to: None,
            bytes: received.raw.len() as u64,
            proofs: verdict::Proofs::default(),
            anomalies: Vec::new(),
            findings: Vec::new(),
            engines: Vec::new(),
            judged_with: None,
            judged: true,
            decision: None,
            edits: Vec::new(),
            outcome: Outcome::Deferred,
            reply: String::new(),
            returned: None,
            held: None,
            redirected_to: None,
            visits: 1,
            probe: None,
            newest_token: false,
            steps: vec![StepTime { step: "receive".into(), micros: received.micros }],
        };
        Log { entry, fault: None }
    }

    /// Runs one step and writes down what it took. Callers pin it where it is: a step's state is some kilobytes, and would be
    /// moved twice on its way here.
    pub(crate) async fn step<T>(&mut self, name: &str, step: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = step.instrument(tracing::debug_span!("step", step = name)).await;
        self.entry.steps.push(StepTime {
            step: name.into(),
            micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        result
    }

    /// Findings are written into every part of a message, with the journey in which they were made.
    pub(crate) fn judged(&mut self, judged: &Result<Judgement, Fault>) {
        let fault = judged.as_ref().map_or_else(Some, |judgement| judgement.looked.lacks.as_ref());
        self.fault = fault.map(fault_kind);
        if let Ok(judgement) = judged {
            self.entry.findings.clone_from(&judgement.looked.findings);
            self.entry.engines.clone_from(&judgement.looked.engines);
            self.entry.judged_with = Some(judgement.journey.clone()).filter(|j| *j != self.entry.id);
        }
    }

    pub(crate) fn end(mut self, outcome: Outcome, reply: &Reply) -> JourneyEntry {
        self.entry.outcome = outcome;
        self.entry.reply = reply.to_string();
        self.tell();
        self.entry
    }

    /// One line a journey, without addresses or subjects; whoever may read those asks the journal.
    fn tell(&self) {
        let entry = &self.entry;
        let micros: u64 = entry.steps.iter().map(|s| s.micros).sum();
        tracing::info!(
            tenant = entry.tenant.map(tracing::field::display),
            direction = entry.direction.map(tenant::Direction::as_str),
            outcome = %entry.outcome,
            bytes = entry.bytes,
            recipients = entry.recipients.len(),
            findings = entry.findings.len(),
            fault = self.fault,
            millis = micros / 1000,
            "journey ended"
        );
    }
}
