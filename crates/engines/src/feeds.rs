//! Lists of bad addresses and files, from files on this machine and from any HTTP feed. Read by the clock, kept on disk as
//! they were last good, and handed out as values that are looked into without any door ([`verdict::lists`]).
//!
//! What cannot be fetched, or holds no entry, changes nothing: yesterday's list is better than none.

mod format;
mod kept;

pub use format::Format;

use crate::{Change, limits, words};
use futures_util::future::join_all;
use kept::Kept;
use reqwest::{Client, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};
use verdict::{List, Listing, Lists, Severity};

/// One list; crates/posthouse reads it from `[[list]]`.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    pub name: String,
    pub of: Listing,
    pub source: Source,
    pub format: Format,
    pub every: Duration,
    pub severity: Severity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    /// May hold a key: shown without path and query.
    Url(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Url(url) => match url.split_once("://") {
                Some((scheme, rest)) => {
                    let authority = rest.split(['/', '?']).next().unwrap_or_default();
                    write!(f, "{scheme}://{}/…", authority.rsplit('@').next().unwrap_or_default())
                }
                None => f.write_str("…"),
            },
        }
    }
}

/// A list as `posthouse engines` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FeedStatus {
    pub name: String,
    pub source: String,
    pub entries: usize,
    /// Lines that are no entry.
    pub rejected: usize,
    /// When its source was last seen to say what is in use.
    pub good: Option<jiff::Timestamp>,
    /// Why it could not be read since.
    pub fault: Option<String>,
}

#[derive(Default)]
struct State {
    list: Option<Arc<List>>,
    rejected: usize,
    good: Option<jiff::Timestamp>,
    /// Of the feed, to ask for what is newer.
    kept: Kept,
    /// Of the file, to see that it changed.
    stamp: Option<(SystemTime, u64)>,
    looked: Option<Instant>,
    faults_in_a_row: u32,
    fault: Option<String>,
    is_told: bool,
}

struct Feed {
    settings: FeedSettings,
    state: Mutex<State>,
}

/// All of them.
pub struct Feeds {
    feeds: Vec<Feed>,
    /// Where what was fetched is kept.
    dir: PathBuf,
    http: Result<Client, String>,
    lists: RwLock<Arc<Lists>>,
}

/// What reading a source gave.
enum Read {
    Unchanged,
    New { text: Vec<u8>, kept: Kept, stamp: Option<(SystemTime, u64)> },
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feeds {
    /// With what was last good of each feed, and files as they are, so that no mail comes before the lists are there.
    pub fn new(settings: Vec<FeedSettings>, dir: PathBuf) -> Feeds {
        let http = Client::builder()
            .connect_timeout(limits::FEED_CONNECT_TIMEOUT)
            .timeout(limits::FEED_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(limits::FEED_REDIRECTS_MAX))
            .user_agent(concat!("posthouse/", env!("CARGO_PKG_VERSION")))
            .build();
        let feeds = settings.into_iter().map(|settings| Feed::with_what_is_kept(settings, &dir)).collect();
        let all = Feeds { feeds, dir, http: http.map_err(|e| e.to_string()), lists: RwLock::default() };
        all.publish();
        all
    }

    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }

    /// As they are now; whoever asks keeps what he got.
    pub fn lists(&self) -> Arc<Lists> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn status(&self) -> Vec<FeedStatus> {
        self.feeds.iter().map(Feed::status).collect()
    }

    /// Reads what is due; returns what people should hear.
    pub async fn tend(&self) -> Vec<Change> {
        let due = self.feeds.iter().filter(|feed| feed.is_due());
        let changed = join_all(due.map(|feed| self.refresh(feed))).await;
        if changed.contains(&true) {
            self.publish();
        }
        self.feeds.iter().filter_map(Feed::change).collect()
    }

    fn publish(&self) {
        let lists = self.feeds.iter().filter_map(|feed| open(&feed.state).list.clone()).collect();
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Lists(lists));
    }

    /// True when there is a new list.
    async fn refresh(&self, feed: &Feed) -> bool {
        let read = match &feed.settings.source {
            Source::File(path) => {
                let before = open(&feed.state).stamp;
                read_file(path, before).await
            }
            Source::Url(url) => {
                let before = open(&feed.state).kept.clone();
                self.fetch(url, before).await
            }
        };
        let taken = match read {
            Ok(Read::Unchanged) => Ok(false),
            Ok(Read::New { text, kept, stamp }) => self.take(feed, text, kept, stamp).await.map(|()| true),
            Err(why) => Err(why),
        };
        let mut state = open(&feed.state);
        state.looked = Some(Instant::now());
        match taken {
            Ok(is_new) => {
                (state.faults_in_a_row, state.fault, state.good) = (0, None, Some(jiff::Timestamp::now()));
                is_new
            }
            Err(why) => {
                tracing::warn!(list = %feed.settings.name, why, "a list was not read");
                (state.faults_in_a_row, state.fault) = (state.faults_in_a_row.saturating_add(1), Some(why));
                false
            }
        }
    }

    async fn take(
        &self,
        feed: &Feed,
        text: Vec<u8>,
        kept: Kept,
        stamp: Option<(SystemTime, u64)>,
    ) -> Result<(), String> {
        let (settings, dir) = (feed.settings.clone(), self.dir.clone());
        // some millions of lines
        let read = tokio::task::spawn_blocking(move || {
            let (list, rejected) = parsed(&settings, &text)?;
            if matches!(settings.source, Source::Url(_))
                && let Err(e) = kept.write(&dir, &settings.name, &text)
            {
                tracing::error!(list = %settings.name, error = %e, "a list was not kept on disk");
            }
            Ok::<_, String>((list, rejected, kept))
        });
        let (list, rejected, kept) = read.await.map_err(|e| e.to_string())??;
        let mut state = open(&feed.state);
        (state.list, state.rejected, state.kept, state.stamp) = (Some(Arc::new(list)), rejected, kept, stamp);
        Ok(())
    }

    async fn fetch(&self, url: &str, before: Kept) -> Result<Read, String> {
        let mut request = self.http.as_ref().map_err(Clone::clone)?.get(url);
        // RFC 9110 §13.1
        if let Some(tag) = &before.etag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        if let Some(date) = &before.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        let mut answer = request.send().await.map_err(without_url)?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => return Ok(Read::Unchanged),
            status if !status.is_success() => return Err(format!("it answered {status}")),
            _ => {}
        }
        let field = |name| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let kept = Kept {
            source: url.to_owned(),
            etag: field(header::ETAG),
            last_modified: field(header::LAST_MODIFIED),
            fetched: Some(jiff::Timestamp::now()),
        };
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(without_url)? {
            text.extend_from_slice(&piece);
            if text.len() > limits::FEED_OCTETS_MAX {
                return Err(format!("it has more than {} MiB", limits::FEED_OCTETS_MAX >> 20));
            }
        }
        Ok(Read::New { text, kept, stamp: None })
    }
}

/// An address may hold a key.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        (why, cause) = (error.to_string(), error.source());
    }
    words(&why)
}

async fn read_file(path: &Path, before: Option<(SystemTime, u64)>) -> Result<Read, String> {
    let of = |e: std::io::Error| e.to_string();
    let about = tokio::fs::metadata(path).await.map_err(of)?;
    let stamp = about.modified().ok().map(|at| (at, about.len()));
    if stamp.is_some() && stamp == before {
        return Ok(Read::Unchanged);
    }
    if about.len() > limits::FEED_OCTETS_MAX as u64 {
        return Err(format!("it has more than {} MiB", limits::FEED_OCTETS_MAX >> 20));
    }
    Ok(Read::New { text: tokio::fs::read(path).await.map_err(of)?, kept: Kept::default(), stamp })
}

/// The list, and how many lines were no entry.
fn parsed(settings: &FeedSettings, text: &[u8]) -> Result<(List, usize), String> {
    let text = String::from_utf8_lossy(text);
    let (entries, rejected) = format::entries(settings.of, settings.format, &text)?;
    let list = List::of(&settings.name, settings.of, settings.severity, entries.iter().map(String::as_str));
    Ok((list, rejected))
}

impl Feed {
    fn with_what_is_kept(settings: FeedSettings, dir: &Path) -> Feed {
        let mut state = State::default();
        let kept = match &settings.source {
            Source::Url(url) => Kept::read(dir, &settings.name, url),
            // the clock says what is wrong with it, if anything is
            Source::File(path) => {
                let small = std::fs::metadata(path).is_ok_and(|about| about.len() <= limits::FEED_OCTETS_MAX as u64);
                small.then(|| std::fs::read(path).ok()).flatten().map(|text| (Kept::default(), text))
            }
        };
        if let Some((kept, text)) = kept
            && let Ok((list, rejected)) = parsed(&settings, &text)
        {
            (state.list, state.rejected, state.good, state.kept) = (Some(Arc::new(list)), rejected, kept.fetched, kept);
        }
        Feed { settings, state: Mutex::new(state) }
    }

    fn is_due(&self) -> bool {
        let state = open(&self.state);
        let pause = match state.faults_in_a_row {
            0 => self.settings.every,
            _ => self.settings.every.min(limits::FEED_RETRY),
        };
        state.looked.is_none_or(|at| at.elapsed() >= pause)
    }

    fn change(&self) -> Option<Change> {
        let mut state = open(&self.state);
        let name = &self.settings.name;
        let is_down = match (state.is_told, &state.fault) {
            (false, Some(_)) if state.faults_in_a_row >= limits::FAULTS_IN_A_ROW => true,
            (true, None) => false,
            _ => return None,
        };
        let source = &self.settings.source;
        let text = match (&state.fault, &state.list) {
            (None, _) => format!("the list {name} of {source} is read again"),
            (Some(why), Some(list)) => format!(
                "the list {name} of {source} cannot be read: {why}; {} entries of before stay in use",
                list.len()
            ),
            (Some(why), None) => format!("the list {name} of {source} cannot be read: {why}; nothing of it is in use"),
        };
        state.is_told = is_down;
        Some(Change { what: format!("list {name}"), is_down, text })
    }

    fn status(&self) -> FeedStatus {
        let state = open(&self.state);
        FeedStatus {
            name: self.settings.name.clone(),
            source: self.settings.source.to_string(),
            entries: state.list.as_ref().map_or(0, |list| list.len()),
            rejected: state.rejected,
            good: state.good,
            fault: state.fault.clone(),
        }
    }
}
