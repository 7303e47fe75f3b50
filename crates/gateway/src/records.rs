//! TXT records of senders' domains, read: keys of DKIM, policies of SPF and DMARC. The resolver remembers answers too, and
//! reads them anew each time; of a sender who writes often that is three names a message.

use crate::limits;
use mail_auth::{DnsCache, NoCache, ResolverCache, TxtRecord};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

/// By name, each as long as its answer lives.
#[derive(Default)]
pub(crate) struct Records(RwLock<HashMap<Box<str>, (TxtRecord, Instant)>>);

impl ResolverCache<Box<str>, TxtRecord> for Records {
    fn get<Q>(&self, name: &Q) -> Option<TxtRecord>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|(_, until)| *until > Instant::now()).map(|(record, _)| record.clone())
    }

    fn remove<Q>(&self, name: &Q) -> Option<TxtRecord>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name).map(|(record, _)| record)
    }

    fn insert(&self, name: Box<str>, record: TxtRecord, until: Instant) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= limits::RECORDS_MAX {
            let now = Instant::now();
            known.retain(|_, (_, until)| *until > now);
            // all of them alive: rather ask again than grow
            if known.len() >= limits::RECORDS_MAX {
                known.clear();
            }
        }
        known.insert(name, (record, until));
    }
}

impl DnsCache for Records {
    type Txt = Records;
    type Mx = NoCache;
    type Ipv4 = NoCache;
    type Ipv6 = NoCache;
    type Ptr = NoCache;

    fn txt(&self) -> Option<&Records> {
        Some(self)
    }
    fn mx(&self) -> Option<&NoCache> {
        None
    }
    fn ipv4(&self) -> Option<&NoCache> {
        None
    }
    fn ipv6(&self) -> Option<&NoCache> {
        None
    }
    fn ptr(&self) -> Option<&NoCache> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_record_lives_as_long_as_its_answer_and_there_are_not_too_many() {
        let records = Records::default();
        let none = || TxtRecord::Error(mail_auth::Error::Dns(mail_auth::DnsError::InvalidRecordType));
        let now = Instant::now();
        records.insert("old.example.".into(), none(), now);
        records.insert("new.example.".into(), none(), now + Duration::from_secs(60));
        assert!(records.get("old.example.").is_none() && records.get("new.example.").is_some());
        for n in 0..2 * limits::RECORDS_MAX {
            records.insert(format!("{n}.example.").into(), none(), now + Duration::from_secs(60));
        }
        assert!(records.0.read().is_ok_and(|known| known.len() <= limits::RECORDS_MAX));
    }
}
