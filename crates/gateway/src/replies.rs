//! Every text that a peer hears from us, in one place. None tells which detector spoke; each carries the journey's
//! id, under which the operator reads more. The table of docs/trust.md shows these texts.

use smtp::Reply;
use tenant::TenantId;

pub(crate) const MUST_START_TLS: &str = "Must issue STARTTLS first";
pub(crate) const UNTRUSTED: &str = "Mail is taken from Exchange Online only";

/// RFC 3207 §4 would say 530; for now, since a connector that lost its TLS setting must not bounce mail.
pub(crate) fn must_start_tls() -> Reply {
    Reply::new(451, (4, 7, 0), MUST_START_TLS)
}
pub(crate) fn untrusted() -> Reply {
    Reply::new(451, (4, 7, 1), UNTRUSTED)
}
pub(crate) fn sender_ok() -> Reply {
    Reply::new(250, (2, 1, 0), "Sender OK")
}
pub(crate) fn recipient_ok() -> Reply {
    Reply::new(250, (2, 1, 5), "Recipient OK")
}
pub(crate) fn no_such_mailbox() -> Reply {
    Reply::new(550, (5, 1, 1), "No such mailbox")
}
pub(crate) fn too_many_sessions() -> Reply {
    Reply::new(421, (4, 7, 0), "Too many connections, try again soon")
}
/// RFC 3463 §3.4, X.3.2: the peer comes again, to us or to another host.
pub(crate) fn going_down() -> Reply {
    Reply::new(421, (4, 3, 2), "Going down, try again soon")
}
pub(crate) fn busy() -> Reply {
    Reply::new(452, (4, 3, 1), "Too much mail under way, try again soon")
}
pub(crate) fn not_attributed(id: &str) -> Reply {
    Reply::new(451, (4, 7, 1), format!("No connected tenant is proven for this message ({id})"))
}
pub(crate) fn looping(id: &str) -> Reply {
    Reply::new(554, (5, 4, 6), format!("Routing loop: a mail flow rule lost its exception ({id})"))
}
/// Microsoft has it again, or we have it durably; which of both is told to nobody outside.
pub(crate) fn taken(id: &str) -> Reply {
    Reply::new(250, (2, 6, 0), format!("Taken ({id})"))
}
/// RFC 3463 §3.8, X.7.1. The sender is of the tenant and asks its administrator, who finds more under the id.
pub(crate) fn against_policy(id: &str) -> Reply {
    Reply::new(
        550,
        (5, 7, 1),
        format!("Not sent: it is against your organization's mail policy; ask your administrator ({id})"),
    )
}
pub(crate) fn ours_is_broken(id: &str) -> Reply {
    Reply::new(451, (4, 3, 0), format!("Temporary failure, try again later ({id})"))
}
pub(crate) fn late(id: &str) -> Reply {
    Reply::new(451, (4, 3, 2), format!("Too busy, try again later ({id})"))
}
pub(crate) fn return_misconfigured(id: &str) -> Reply {
    Reply::new(451, (4, 3, 5), format!("The way back is not configured correctly ({id})"))
}
pub(crate) fn return_unreachable(id: &str) -> Reply {
    Reply::new(451, (4, 4, 1), format!("The way back cannot be reached ({id})"))
}
/// Microsoft's own answer becomes ours; its text is cut to what one line may carry (RFC 5321 §4.5.3.1.5).
pub(crate) fn as_microsoft_said(said: &Reply, id: &str) -> Reply {
    let class = u8::try_from(said.code / 100).unwrap_or(4);
    let text: String = said.text.replace('\n', " ").chars().take(300).collect();
    Reply { code: said.code, enhanced: said.enhanced.or(Some((class, 0, 0))), text: format!("{text} ({id})") }
}

/// The reference under which a tenant's alert stands.
pub(crate) fn about(tenant: Option<TenantId>) -> String {
    tenant.map_or_else(|| "no tenant".into(), |t| t.to_string())
}
