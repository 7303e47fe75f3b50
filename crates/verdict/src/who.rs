//! Whose mail it is and whom it is from, as far as a policy asks.

use crate::Proofs;
use crate::content::urls::site;
use tenant::{Direction, Listed, Members, Sender};

/// Beside the findings, all that a decision depends on.
#[derive(Clone, Debug)]
pub struct Who<'a> {
    pub direction: Direction,
    pub sender: Sender<'a>,
    pub recipients: Vec<&'a str>,
    /// What the list of its recipients' own says of the sender; the same for all of them.
    pub personal: Listed<'a>,
    /// The domain in From is authenticated.
    pub proven: bool,
    /// Of the groups that the policy names; `None`: no group has members.
    pub members: Option<&'a Members>,
    /// Seconds since 1970.
    pub now: i64,
}

impl Who<'_> {
    /// Somebody for whom the base policy counts.
    pub fn unknown(direction: Direction) -> Who<'static> {
        let (sender, recipients, personal) = (Sender::default(), Vec::new(), Listed::No);
        Who { direction, sender, recipients, personal, proven: false, members: None, now: 0 }
    }

    /// The people of the tenant; never none, since mail of nobody is judged by the base policy.
    pub(crate) fn people(&self) -> Vec<&str> {
        match self.direction {
            Direction::Inbound if self.recipients.is_empty() => vec![""],
            Direction::Inbound => self.recipients.clone(),
            // a report has the null sender
            Direction::Outbound if self.sender.envelope.is_empty() => vec![self.sender.from],
            Direction::Outbound => vec![self.sender.envelope],
        }
    }

    pub(crate) fn domain_shown(&self) -> &str {
        self.sender.from.rsplit_once('@').map_or("", |(_, d)| d)
    }
}

impl Proofs {
    /// True when SPF, DKIM or DMARC passed for the organisation of that domain (RFC 7489 §3.1, relaxed alignment).
    pub fn prove(&self, domain: &str) -> bool {
        let wanted = site(&domain.to_lowercase());
        !domain.is_empty()
            && self.microsoft.iter().chain(&self.own).any(|p| {
                matches!(p.method.as_str(), "spf" | "dkim" | "dmarc")
                    && p.result == "pass"
                    && p.domain.as_deref().is_some_and(|d| site(d) == wanted)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AuthResult;

    #[test]
    fn a_pass_proves_its_own_organisation_alone() {
        let proven = |method: &str, result: &str, of: &str, domain: &str| {
            let one = AuthResult { method: method.into(), result: result.into(), domain: Some(of.into()) };
            Proofs { microsoft: vec![one], ..Proofs::default() }.prove(domain)
        };
        assert!(proven("dmarc", "pass", "acme.example", "acme.example"));
        assert!(proven("spf", "pass", "bounce.acme.example", "Acme.example"));
        for (method, result, of) in [
            ("dmarc", "bestguesspass", "acme.example"),
            ("dkim", "fail", "acme.example"),
            ("compauth", "pass", "acme.example"),
            ("dkim", "pass", "mailer.example"),
        ] {
            assert!(!proven(method, result, of, "acme.example"), "{method} {result} {of}");
        }
        assert!(!proven("spf", "pass", "", ""));
    }
}
