//! What a tenant wants changed in its mail: by a command, or by the file of many tenants.

use crate::config::Config;
use crate::lifecycle::who;
use crate::{show, wiring};
use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use store::Store;
use tenant::{BannerFor, Edits, HeaderField, Links, Tenant};

/// What is not said stays as it is; an empty text takes it away.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Which mail from outside gets a banner above its text.
    #[arg(long, value_enum)]
    pub banner: Option<Banner>,
    /// What the banner says; "" is Posthouse's own words.
    #[arg(long, value_name = "TEXT")]
    pub wording: Option<String>,
    /// Words in front of the subject of mail from outside, such as "[EXTERNAL]".
    #[arg(long, value_name = "TAG")]
    pub subject_tag: Option<String>,
    /// A field on top of mail from outside, such as "X-External: yes".
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Option<String>,
    /// Have links in mail from outside lead through our page (docs/links.md).
    #[arg(long, value_enum)]
    pub links: Option<OnOff>,
    /// For how many days they lead on.
    #[arg(long, value_name = "DAYS")]
    pub links_days: Option<u16>,
    /// What a click does where something is suspicious about the destination.
    #[arg(long, value_enum)]
    pub links_suspicious: Option<AtClick>,
    /// What a click does where no list can say anything.
    #[arg(long, value_enum)]
    pub links_unknown: Option<AtClick>,
    /// A domain whose links stay as they are, with what is below it; instead of those named before; "" is none.
    #[arg(long, value_name = "DOMAIN")]
    pub links_keep: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOff {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtClick {
    /// Lead on.
    Pass,
    /// Show why, with a way on.
    Warn,
    /// Show why, with no way on.
    Block,
}

impl From<AtClick> for tenant::AtClick {
    fn from(wish: AtClick) -> tenant::AtClick {
        match wish {
            AtClick::Pass => tenant::AtClick::Pass,
            AtClick::Warn => tenant::AtClick::Warn,
            AtClick::Block => tenant::AtClick::Block,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Banner {
    Off,
    /// All of it.
    External,
    /// Mail in which something was found that did not hold it, or that could not be judged.
    Suspicious,
}

impl Wish {
    fn is_empty(&self) -> bool {
        self.banner.is_none()
            && [&self.wording, &self.subject_tag, &self.header].iter().all(|w| w.is_none())
            && self.links.is_none()
            && self.links_days.is_none()
            && self.links_suspicious.or(self.links_unknown).is_none()
            && self.links_keep.is_none()
    }

    /// The edits with this wish; refused where they cannot be, or could not be sealed.
    pub fn on(&self, before: &Edits, config: &Config) -> Result<Edits> {
        let said = |text: &Option<String>, was: &Option<String>| match text {
            None => was.clone(),
            Some(text) => Some(text.trim().to_owned()).filter(|t| !t.is_empty()),
        };
        let mut edits = Edits {
            banner: self.banner.map_or(before.banner, |banner| match banner {
                Banner::Off => BannerFor::Off,
                Banner::External => BannerFor::External,
                Banner::Suspicious => BannerFor::Suspicious,
            }),
            wording: said(&self.wording, &before.wording),
            subject_tag: said(&self.subject_tag, &before.subject_tag),
            links: self.on_links(&before.links),
            header: match &self.header {
                None => before.header.clone(),
                Some(text) if text.trim().is_empty() => None,
                Some(text) => Some(HeaderField::parse(text).ok_or_else(|| {
                    anyhow!("\"{text}\" is not a header that can be put on top; write it as \"X-Name: value\", in ASCII, and not X-Posthouse-…")
                })?),
            },
            former_wordings: before.former_wordings.clone(),
        };
        edits.remember(before);
        if let Some(wrong) = edits.wrong() {
            bail!("{wrong}");
        }
        if edits.change_content() && wiring::arc_key(config)?.is_none() {
            bail!(
                "an edited message has to be sealed, or nobody can verify it any more; set gateway.arc_key first (docs/edits.md says how)"
            );
        }
        if edits.links.rewrite && config.web.is_none() {
            bail!("rewritten links need a page to lead to; set web.public_url first (docs/links.md says how)");
        }
        Ok(edits)
    }

    fn on_links(&self, before: &Links) -> Links {
        let keep = |all: &Vec<String>| all.iter().map(|d| d.trim().to_lowercase()).filter(|d| !d.is_empty()).collect();
        Links {
            rewrite: self.links.map_or(before.rewrite, |links| links == OnOff::On),
            days: self.links_days.unwrap_or(before.days),
            suspicious: self.links_suspicious.map_or(before.suspicious, Into::into),
            unknown: self.links_unknown.map_or(before.unknown, Into::into),
            keep: self.links_keep.as_ref().map_or_else(|| before.keep.clone(), keep),
            used: before.used,
        }
    }
}

pub async fn edits(config: &Config, store: &Store, name: &str, wish: Wish, json: bool) -> Result<()> {
    let mut tenant = wiring::find_tenant(store, name).await?;
    if !wish.is_empty() {
        let edits = wish.on(&tenant.policy.edits, config)?;
        store.change_tenant(tenant.id, |known| known.policy.edits.clone_from(&edits)).await?;
        store.put_act(&who(), "edits", Some(tenant.id), &serde_json::to_string(&edits)?).await?;
        tenant.policy.edits = edits;
    }
    show::print(json, &tenant.policy.edits, || text(&tenant))
}

fn text(tenant: &Tenant) -> String {
    let edits = &tenant.policy.edits;
    let or_none = |text: Option<&str>| text.map_or("none".to_owned(), |t| format!("\"{}\"", show::safe(t)));
    let banner = match edits.banner {
        BannerFor::Off => "none".into(),
        BannerFor::External => format!("above all mail from outside: \"{}\"", show::safe(edits.wording())),
        BannerFor::Suspicious => {
            format!("above mail in which something was found: \"{}\"", show::safe(edits.wording()))
        }
    };
    let header = edits.header.as_ref().map(|h| format!("{}: {}", h.name, h.value));
    let rows = [
        ["banner".to_owned(), banner],
        ["subject tag".to_owned(), or_none(edits.subject_tag.as_deref())],
        ["header".to_owned(), or_none(header.as_deref())],
        ["links".to_owned(), links(&edits.links)],
        [
            "taken out of outgoing mail".to_owned(),
            match edits.wordings().len() {
                0 => "nothing".into(),
                n => format!("banners of {n} wordings"),
            },
        ],
    ];
    show::table(["edit", &tenant.display_name], rows).to_string()
}

fn links(links: &Links) -> String {
    if !links.rewrite {
        return "as they are".into();
    }
    let word = |then| match then {
        tenant::AtClick::Pass => "led on",
        tenant::AtClick::Warn => "warned of",
        tenant::AtClick::Block => "blocked",
    };
    let kept = if links.keep.is_empty() { String::new() } else { format!("; not those of {}", links.keep.join(", ")) };
    format!(
        "lead through our page for {} days; suspicious ones are {}, those of which no list can tell {}{kept}",
        links.days,
        word(links.suspicious),
        word(links.unknown)
    )
}
