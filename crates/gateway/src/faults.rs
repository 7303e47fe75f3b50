//! What happens when *we* are broken: one closed list and one table (docs/failure.md shows it). Whatever the
//! fault, a message is refused for now, and Exchange Online keeps it; only an inspection that cannot be done may
//! be skipped, and only where the tenant chose so.

use crate::replies;
use engines::OnFault;
use smtp::Reply;
use store::AlertKind;
use tenant::{Policy, WhenUnjudged};

/// Something of ours, or of the way back, that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store cannot be read or written.
    Store(String),
    /// A detector panicked or did not end in time.
    Inspection(String),
    /// A scanner that this message needs did not say what it found.
    Engine { name: String, why: String, on_fault: OnFault },
    /// There was no room, or no time left, at this step.
    Late(&'static str),
    /// Our own code panicked.
    Panic,
    /// DNS does not tell where mail goes back to.
    Dns(String),
    /// The host that takes mail back cannot be found or reached.
    ReturnUnreachable(String),
    /// Exchange Online refuses our return for what the tenant or we configured.
    ReturnConfiguration(String),
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    RefuseForNow,
    /// Handed back, marked as unjudged.
    PassUnjudged,
}

impl Fault {
    pub(crate) fn consequence(&self, policy: &Policy) -> Consequence {
        match (self, policy.when_unjudged) {
            (Fault::Engine { on_fault: OnFault::Pass, .. }, _) => Consequence::PassUnjudged,
            (Fault::Inspection(_) | Fault::Engine { .. } | Fault::Late("inspect"), WhenUnjudged::Pass) => {
                Consequence::PassUnjudged
            }
            _ => Consequence::RefuseForNow,
        }
    }

    pub(crate) fn reply(&self, id: &str) -> Reply {
        match self {
            Fault::Store(_) | Fault::Inspection(_) | Fault::Engine { .. } | Fault::Panic => replies::ours_is_broken(id),
            Fault::Late(_) => replies::late(id),
            Fault::Dns(_) | Fault::ReturnUnreachable(_) => replies::return_unreachable(id),
            Fault::ReturnConfiguration(_) => replies::return_misconfigured(id),
        }
    }

    /// Kind, subject (what repeats is counted under it) and text of the alert.
    pub(crate) fn alert(&self) -> (AlertKind, &'static str, String) {
        match self {
            Fault::Store(why) => {
                (AlertKind::Other, "the store does not work", format!("{why}; mail is refused for now until it does"))
            }
            Fault::Inspection(why) => (AlertKind::Other, "a message could not be inspected", why.clone()),
            Fault::Engine { name, why, .. } => (
                AlertKind::Engine,
                "a scanner could not say what is in a message",
                format!("{name} {why}; `posthouse engines` shows how it is, docs/engines.md what can be chosen"),
            ),
            Fault::Late(step) => (
                AlertKind::Other,
                "messages take too long",
                format!(
                    "no time was left at the step “{step}”; the machine or a part of it is too slow for the mail that comes. `posthouse explain` has the time of each step"
                ),
            ),
            Fault::Dns(why) => (
                AlertKind::ReturnConfiguration,
                "DNS does not tell the way back",
                format!("{why}; look at dns.resolver. Exchange Online keeps the mail and tries again for a day"),
            ),
            Fault::Panic => {
                (AlertKind::Other, "a journey panicked", "this is a defect of Posthouse; the log has the place".into())
            }
            Fault::ReturnUnreachable(why) => (
                AlertKind::ReturnConfiguration,
                "the way back cannot be reached",
                format!("{why}; Exchange Online keeps the mail and tries again for a day"),
            ),
            Fault::ReturnConfiguration(why) => (
                AlertKind::ReturnConfiguration,
                "Exchange Online refuses our return",
                format!(
                    "{why}; look at the inbound connector, the accepted domain and the certificate of this tenant; Exchange Online keeps the mail for a day"
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// docs/failure.md is this table.
    #[test]
    fn the_documented_failures_are_the_table() {
        let engine = |on_fault| Fault::Engine { name: "a scanner".into(), why: "why".into(), on_fault };
        let faults = [
            Fault::Store("why".into()),
            Fault::Inspection("why".into()),
            engine(OnFault::Defer),
            engine(OnFault::Pass),
            Fault::Late("inspect"),
            Fault::Late("hand back"),
            Fault::Panic,
            Fault::Dns("why".into()),
            Fault::ReturnUnreachable("why".into()),
            Fault::ReturnConfiguration("why".into()),
        ];
        let mut page = "# When we are broken\n\nWritten from `crates/gateway/src/faults.rs` by its test (`UPDATE_EXPECT=1`); do not edit. `ID` is the journey's id, `why` the cause.\n\n| what is broken | Exchange Online hears | a tenant that passes the unjudged | alert |\n|---|---|---|---|\n".to_owned();
        for fault in faults {
            let pass = Policy { when_unjudged: WhenUnjudged::Pass, ..Policy::default() };
            let handed_back = "handed back, `X-Posthouse-Verdict: unjudged`";
            let usual = fault.consequence(&Policy::default());
            let chosen = match fault.consequence(&pass) {
                same if same == usual => "the same",
                Consequence::PassUnjudged => handed_back,
                Consequence::RefuseForNow => unreachable!("who passes the unjudged has no more refused"),
            };
            let heard = match usual {
                Consequence::RefuseForNow => format!("`{}`", fault.reply("ID")),
                Consequence::PassUnjudged => handed_back.to_owned(),
            };
            let (_, subject, text) = fault.alert();
            let (subject, text) = match &fault {
                Fault::Engine { on_fault, .. } => (format!("{subject}, `on_fault = \"{}\"`", on_fault.as_str()), text),
                _ => (subject.to_owned(), text),
            };
            let text = if usual == Consequence::PassUnjudged { "that of the scanner itself" } else { &text };
            page += &format!("| {subject} | {heard} | {chosen} | {text} |\n");
        }
        page += "\nNo fault, but part of the same question:\n\n| what is broken | what happens |\n|---|---|\n";
        page += "| a scanner with `on_fault = \"ignore\"` does not say what is in a message | it is judged by the rest; `posthouse explain` says so |\n";
        page += "| a scanner, whichever, fails, and something else is found that holds the message | it is held |\n";
        page += "| a scanner does not look into what is so large | a finding says so; with `on_fault = \"defer\"` it holds inbound mail |\n";
        page += "| DNS does not answer for a sender's DKIM or ARC key | the fact is `temperror`, and the message is judged without it |\n";
        page +=
            "| DNS does not answer for the way back, but did within the last day | the addresses of then are used |\n";
        page += &format!(
            "| more than {} journeys wait for room, or the octets under way are {} MiB | new sessions hear `{}` instead of a greeting, a new message `{}` |\n",
            crate::limits::JOURNEYS_WAITING_MAX,
            crate::limits::OCTETS_UNDER_WAY_MAX >> 20,
            replies::too_many_sessions(),
            replies::busy()
        );
        page += "| the journal cannot be written after a message was handed back | the message is Microsoft's, the log has an error; `posthouse ledger check` finds the hole |\n";
        page += "| the process is killed | Exchange Online hears nothing and sends again |\n";
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/failure.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page, "run with UPDATE_EXPECT=1");
    }
}
