//! How a journey ends, by its last step or before it.

use crate::faults::Fault;
use crate::house::NewAlert;
use crate::metrics::fault_kind;
use smtp::Reply;
use store::{AlertKind, Outcome};
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

    /// Exchange Online counted its hops and will take it no more: what it said is said, and a person must look.
    pub(crate) fn of_loop(ended: Ended, said: &Reply, tenant: TenantId, id: &str) -> Stop {
        let text = format!(
            "journey {id}: Exchange Online refused a message that went round too often ({said}); look at the routing rules' exception for the header X-Posthouse-Pass: `posthouse plan {tenant}`"
        );
        let alert =
            NewAlert { kind: AlertKind::Loop, tenant: Some(tenant), subject: "hop count exceeded".into(), text };
        Stop { ended, alert: Box::new(alert), visits: 1, fault: None }
    }
}
