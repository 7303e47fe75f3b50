//! What of a message the classifier looks at: words, pairs of words and form, of subject and text alone.
//!
//! Nothing that names somebody or somewhere: no header but the subject, no word with a digit, no address, no host, no word
//! of the recipients' own addresses. A model that had learnt those would know its training mail and nothing else.

use crate::content::urls::Within;
use crate::look_alike::skeleton;
use crate::{Content, limits};
use mail::Message;
use std::collections::HashSet;

/// A word, a pair of words, or something about the form (in brackets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    pub bucket: u32,
    pub name: String,
}

/// Each once, in the order of their buckets.
pub(super) fn of(message: &Message, content: &Content) -> Vec<Feature> {
    let own = words_of_recipients(message);
    let mut all = Vec::new();
    for (text, mark) in [(message.subject().unwrap_or_default().as_str(), "subject: "), (content.text.as_str(), "")] {
        let words = words(text, &own);
        for (n, word) in words.iter().enumerate() {
            all.push(format!("{mark}{word}"));
            if let Some(next) = words.get(n + 1) {
                all.push(format!("{mark}{word} {next}"));
            }
        }
    }
    all.extend(form(content));
    let mut features: Vec<Feature> = all.into_iter().map(|name| Feature { bucket: bucket(&name), name }).collect();
    features.sort_by(|a, b| a.bucket.cmp(&b.bucket).then_with(|| a.name.cmp(&b.name)));
    features.dedup_by(|a, b| a.bucket == b.bucket);
    features
}

/// FNV-1a, so that a model means the same on every machine and with every compiler.
fn bucket(name: &str) -> u32 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ (hash >> 32)) % u64::from(limits::CLASSIFIER_BUCKETS)) as u32
}

fn words(text: &str, own: &HashSet<String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut octets = 0;
    for run in text.split_whitespace() {
        octets += run.len();
        if octets > limits::CLASSIFIER_OCTETS_MAX {
            break;
        }
        if names_a_place(run) {
            continue;
        }
        let read = skeleton(run);
        let plain = |word: &&str| {
            let letters = word.chars().count();
            (2..=limits::CLASSIFIER_WORD_CHARS_MAX).contains(&letters)
                && word.chars().all(char::is_alphabetic)
                && !own.contains(*word)
        };
        words.extend(read.split(' ').filter(plain).map(str::to_owned));
    }
    words
}

/// An address, a URL or a host; `end.Begin` too, which costs nothing.
fn names_a_place(run: &str) -> bool {
    let inner_dot = run.trim_matches(|c: char| !c.is_alphanumeric()).contains('.');
    inner_dot || run.contains('@') || run.contains("//") || run.chars().any(|c| c.is_ascii_digit())
}

/// Their names and addresses: mail to them says these in wanted and unwanted mail alike, but not equally often.
fn words_of_recipients(message: &Message) -> HashSet<String> {
    let fields = ["To", "Cc", "Delivered-To"].into_iter().flat_map(|name| message.header_values(name));
    fields
        .flat_map(|value| {
            skeleton(&value.replace(['.', '@', '_'], " ")).split(' ').map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn form(content: &Content) -> Vec<String> {
    let links = content.followed().filter(|url| url.within == Within::Body).count();
    let pages = || content.pages.iter().filter(|page| page.depth == 0 && !page.is_attachment);
    let images = pages().map(|page| page.images.len()).sum();
    let words = content.text.split_whitespace().take(limits::CLASSIFIER_OCTETS_MAX).count();
    let mut form = vec![
        format!("[{} links]", step(links, &[1, 3, 10, 40])),
        format!("[{} pictures]", step(images, &[1, 3, 10])),
        format!("[{} words]", step(words, &[20, 60, 200, 1000])),
    ];
    form.extend(pages().any(|page| !page.forms.is_empty()).then(|| "[a form]".to_owned()));
    form
}

/// `0`, `1 to 2`, `3 to 9`, …
fn step(count: usize, steps: &[usize]) -> String {
    let from = steps.iter().rev().find(|step| count >= **step).copied().unwrap_or(0);
    match steps.iter().find(|step| count < **step) {
        Some(1) => "0".into(),
        Some(to) => format!("{from} to {}", to - 1),
        None => format!("{from} or more"),
    }
}
