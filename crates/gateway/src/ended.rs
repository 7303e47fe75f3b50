//! How a journey ends, by its last step or before it.

use crate::faults::Fault;
use crate::house::NewAlert;
use crate::metrics::fault_kind;
use smtp::Reply;
use store::Outcome;
use tenant::TenantId;

/// How a journey ended: what Exchange Online hears, and what the journal says.
pub(crate) struct Ended {
    pub outcome: Outcome,
    pub reply: Reply,
}

/// Why a journey stops before its end. Nothing was relayed, nothing is lost: Exchange Online has the message.
pub(crate) struct Stop {
    pub ended: Ended,
    pub alert: Box<NewAlert>,
    /// How often the message came, where that is why it stops.
    pub visits: u32,
    /// What of ours is broken, where that is why.
    pub fault: Option<&'static str>,
}

impl Stop {
    pub(crate) fn of(fault: &Fault, tenant: Option<TenantId>, id: &str) -> Stop {
        let (kind, subject, text) = fault.alert();
        Stop {
            ended: Ended { outcome: Outcome::Deferred, reply: fault.reply(id) },
            alert: Box::new(NewAlert { kind, tenant, subject: subject.to_owned(), text }),
            visits: 1,
            fault: Some(fault_kind(fault)),
        }
    }
}
