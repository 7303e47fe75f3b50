//! Which edits a message gets, by the tenant's policy, its direction and what was decided (docs/edits.md); carried out,
//! and sealed with an ARC set where something changed that the sender may have signed.

use crate::arc;
use crate::house::House;
use crate::limits;
use crate::links::Links;
use bytes::Bytes;
use mail::{Banner, Edit, Edited, Pieces};
use tenant::{BannerFor, Direction, Edits, HeaderField, Tenant, Wording};
use verdict::{Marks, Proofs};

/// What is asked for, and what of it is not done.
#[derive(Default)]
pub(crate) struct Wanted {
    pub edits: Vec<Edit>,
    /// Those of `edits` that are about links.
    pub links: Option<Links>,
    pub left: Vec<String>,
}

/// What that depends on, beside the policy.
pub(crate) struct Case<'a> {
    pub tenant: &'a Tenant,
    /// Rewritten links name it.
    pub journey: &'a str,
    pub direction: Direction,
    pub is_probe: bool,
    pub visits: u32,
    pub null_sender: bool,
    /// Something was found that did not hold it, or nobody could look, or a person released it.
    pub is_suspicious: bool,
    /// What the decision asks for.
    pub marks: Marks,
}

pub(crate) fn wanted(house: &House, case: &Case<'_>) -> Wanted {
    let (policy, wording) = (&case.tenant.policy.edits, &case.tenant.policy.rules.wording);
    // a probe has to come back as it went; a second visit has had its edits
    if case.is_probe || case.visits > 1 {
        return Wanted::default();
    }
    let header = policy.header.as_ref().filter(|_| case.direction == Direction::Inbound);
    let header = header.map(|HeaderField { name, value }| Edit::add(name, value));
    let links = match case.direction {
        Direction::Inbound => Links::inbound(house, case.tenant, case.journey, jiff::Timestamp::now().as_second()),
        Direction::Outbound => Links::outbound(house, case.tenant).filter(|_| house.arc.is_some()),
    };
    let mut content = match case.direction {
        Direction::Inbound => inbound(policy, wording, case.is_suspicious, case.marks),
        // without a key none was ever put in
        Direction::Outbound => outbound(policy, house.arc.is_some().then_some(wording)),
    };
    content.extend(links.as_ref().map(Links::edit));
    let why = match () {
        () if content.is_empty() => None,
        () if case.null_sender => {
            let never = &mail::NULL_SENDER;
            Some(format!("not edited: {}: {}", never.what, never.why))
        }
        () if house.arc.is_none() => {
            Some("not edited: nothing could be sealed; set gateway.arc_key (docs/edits.md)".into())
        }
        () => None,
    };
    let (content, links) = if why.is_some() { (Vec::new(), None) } else { (content, links) };
    let no_page = policy.links.rewrite && case.direction == Direction::Inbound && house.settings.web.is_none();
    let no_page = no_page.then(|| "links not rewritten: there is no page; set [web] (docs/links.md)".to_owned());
    let left = why.into_iter().chain(no_page).collect();
    Wanted { edits: header.into_iter().chain(content).collect(), links, left }
}

/// What was decided of this message is said before what is said of every one from outside.
fn inbound(policy: &Edits, wording: &Wording, is_suspicious: bool, marks: Marks) -> Vec<Edit> {
    let of_all = match policy.banner {
        BannerFor::Off => None,
        BannerFor::External => Some(policy.wording()),
        BannerFor::Suspicious => is_suspicious.then(|| policy.wording()),
    };
    let banner = marks.banner.map(|level| wording.banner(level)).or(of_all);
    let tag = if marks.tag { Some(wording.tag().to_owned()) } else { policy.subject_tag.clone() };
    let banner = banner.map(|words| Edit::Banner(Banner::of(words)));
    [tag.map(Edit::SubjectTag), banner].into_iter().flatten().collect()
}

fn outbound(policy: &Edits, of_decisions: Option<&Wording>) -> Vec<Edit> {
    let mut wordings = policy.wordings();
    wordings.extend(of_decisions.map(Wording::banners).unwrap_or_default());
    match wordings {
        none if none.is_empty() => Vec::new(),
        wordings => vec![Edit::RemoveBanner { wordings }],
    }
}

/// The message as it goes out, and what to tell of it.
pub(crate) async fn carried_out(
    house: &House,
    raw: &Bytes,
    edits: Vec<Edit>,
    links: Option<&Links>,
    proofs: &Proofs,
) -> (Pieces, Vec<String>) {
    let mut edited = applied(raw, edits.clone()).await;
    if let Some(links) = links {
        if links.settle(&house.store).await {
            edited = applied(raw, edits).await;
        }
        edited.left.extend(links.left());
    }
    let Edited { pieces, made, left } = edited;
    if made.is_empty() {
        return (pieces, left);
    }
    let mut told = [made, left].concat();
    let sealed = match arc::seal(house, raw, &pieces.joined(), proofs).await {
        Ok(set) => {
            told.push(format!("sealed: ARC set {}", set.instance));
            let mut sealed = Pieces::from(Bytes::from(set.header));
            pieces.as_slice().iter().cloned().for_each(|piece| sealed.push(piece));
            sealed
        }
        Err(why) => {
            told.push(format!("not sealed: {why}"));
            pieces
        }
    };
    (sealed, told)
}

async fn applied(raw: &Bytes, edits: Vec<Edit>) -> Edited {
    if raw.len() < limits::OWN_THREAD_OCTETS {
        return mail::apply_and_tell(raw, &edits);
    }
    let raw = raw.clone();
    match tokio::task::spawn_blocking(move || mail::apply_and_tell(&raw, &edits)).await {
        Ok(edited) => edited,
        // a panic ends this journey with 4xx, as any other of our own
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_policy_says_what_is_edited() {
        let kinds = |policy: &Edits, suspicious| {
            let edits = inbound(policy, &Wording::default(), suspicious, Marks::default());
            let names = edits.iter().map(|e| format!("{e:?}").split(['(', ' ']).next().unwrap_or_default().to_owned());
            names.collect::<Vec<_>>().join(" ")
        };
        let nothing = Edits::default();
        let suspicious = Edits { banner: BannerFor::Suspicious, ..Edits::default() };
        let all = Edits { banner: BannerFor::External, subject_tag: Some("[X]".into()), ..Edits::default() };
        assert_eq!((kinds(&nothing, true), outbound(&nothing, None)), (String::new(), vec![]));
        assert_eq!((kinds(&suspicious, false), kinds(&suspicious, true)), (String::new(), "Banner".into()));
        assert_eq!(kinds(&all, false), "SubjectTag Banner");
        assert_eq!(outbound(&all, None), [Edit::RemoveBanner { wordings: vec![tenant::WORDING.into()] }]);
    }

    #[test]
    fn a_decision_speaks_before_the_policy_for_all_and_its_banners_come_out_again() {
        let wording = Wording { caution: Some("Ada asks you to look twice here.".into()), ..Wording::default() };
        let all = Edits { banner: BannerFor::External, subject_tag: Some("[X]".into()), ..Edits::default() };
        let marks = Marks { tag: true, banner: Some(tenant::Level::Caution), ..Marks::default() };
        let edits = inbound(&all, &wording, true, marks);
        let banner = Edit::Banner(Banner::of("Ada asks you to look twice here."));
        assert_eq!(edits, [Edit::SubjectTag("[SUSPICIOUS]".into()), banner]);
        let out = outbound(&Edits::default(), Some(&wording));
        let [Edit::RemoveBanner { wordings }] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!((wordings.len(), wordings[1].as_str()), (3, "Ada asks you to look twice here."));
    }
}
