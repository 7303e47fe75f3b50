//! How much the phrases of a message weigh together.

use super::standing::{self, Standing};
use super::{Hit, Signal, Wording};
use crate::detectors::Detector;
use crate::finding::HOLD_POINTS;
use crate::{Category, Evidence, Finding, limits};

/// What one detector listens for.
pub struct Recipe {
    /// Each signal with the points of its first phrase and of each further one, of which [`FURTHER_MAX`] count.
    pub signals: &'static [(Signal, u32, u32)],
    /// Without one of these the rest is ordinary speech.
    pub mains: &'static [Signal],
    /// What remains of the points when the message and all its links are proven to be the sender's own, and when some
    /// are, in percent.
    pub own_percent: u32,
    pub partly_percent: u32,
    /// The same when the sender's domain is proven and no link leads to it.
    pub proven_percent: u32,
    /// What a message that is found out is like: "speaks as … does".
    pub like: &'static str,
}

/// Something beside the phrases that speaks for it, e.g. a telephone number.
pub struct Extra {
    pub points: u32,
    pub says: String,
}

const FURTHER_MAX: u32 = 4;
/// A main phrase in the subject is what the message is about.
const SUBJECT_POINTS: u32 = 10;
/// Below, nothing is worth telling.
const POINTS_MIN: u32 = 15;
/// Words alone hold a message when as many signals come together, or as many phrases of fewer signals; until then each
/// place is worth no more than this, and a single one in a text nothing.
const SIGNALS_TO_HOLD: usize = 3;
const PLACES_TO_HOLD: usize = 5;
const POINTS_OF_A_PLACE: u32 = 20;
const QUOTED_MAX: usize = 4;
const DETAILS_MAX: usize = 12;

/// One note or one suspicion, or nothing.
pub fn judge(evidence: &Evidence<'_>, detector: &Detector, recipe: &Recipe, extras: Vec<Extra>) -> Vec<Finding> {
    let wording = evidence.wording();
    let together = Together::best(wording, recipe);
    if !recipe.mains.iter().any(|main| together.hits.iter().any(|hit| hit.signal == *main)) {
        return Vec::new();
    }
    let in_subject = together.hits.iter().any(|hit| hit.in_subject && recipe.mains.contains(&hit.signal));
    let extra: u32 = extras.iter().map(|e| e.points).sum();
    let (signals, places) = (together.signals() + extras.len(), together.places + extras.len());
    let raw = together.points + extra + if in_subject { SUBJECT_POINTS } else { 0 };
    let capped = match places {
        1 if !in_subject => 0,
        PLACES_TO_HOLD.. => raw,
        SIGNALS_TO_HOLD.. if signals >= SIGNALS_TO_HOLD => raw,
        _ => raw.min(POINTS_OF_A_PLACE * places as u32),
    };
    let standing = standing::of(evidence);
    // a service that knows its customer by name says it
    let nameless = together.hits.iter().any(|hit| hit.signal == Signal::Impersonal);
    let points = capped * standing.percent(recipe, nameless) / 100;
    if points < POINTS_MIN {
        return Vec::new();
    }
    let quoted: Vec<String> = together.hits.iter().take(QUOTED_MAX).map(|hit| format!("\"{}\"", hit.phrase)).collect();
    let mut says = quoted.join(", ");
    for extra in &extras {
        says = format!("{says}, {}", extra.says);
    }
    let summary = format!("the wording is that of {}: {says}", recipe.like);
    let mut details: Vec<String> = together.hits.iter().take(DETAILS_MAX).map(|hit| tell(hit)).collect();
    details.extend(standing.tell());
    vec![match points {
        // unasked offers and newsletters differ in who wanted them, not in their words
        HOLD_POINTS.. if detector.category != Category::Spam => Finding::suspicious(detector, summary, details),
        _ => Finding::note(detector, points, summary, details),
    }]
}

fn tell(hit: &Hit) -> String {
    let place = if hit.in_subject { "subject" } else { "text" };
    format!("{place}, {}: \"{}\"", hit.signal.name(), hit.phrase)
}

impl Standing {
    fn percent(&self, recipe: &Recipe, nameless: bool) -> u32 {
        match self {
            Standing::Own(_) => recipe.own_percent,
            Standing::Partly(_) | Standing::Claimed(_) => recipe.partly_percent,
            Standing::Proven(_) if !nameless => recipe.proven_percent,
            Standing::Proven(_) | Standing::Elsewhere => 100,
        }
    }
}

/// The phrases of a recipe that stand near each other and weigh most, those of the subject with them.
#[derive(Default)]
struct Together<'a> {
    points: u32,
    /// Different phrases at different places.
    places: usize,
    hits: Vec<&'a Hit>,
}

impl<'a> Together<'a> {
    fn best(wording: &'a Wording, recipe: &Recipe) -> Together<'a> {
        let counts = |hit: &&Hit| recipe.signals.iter().any(|(signal, ..)| *signal == hit.signal);
        let (subject, text): (Vec<&Hit>, Vec<&Hit>) =
            wording.hits.iter().filter(counts).partition(|hit| hit.in_subject);
        let mut best = Together::of(recipe, subject.clone());
        let mut last = 0;
        for (first, hit) in text.iter().enumerate() {
            let near = |other: &&Hit| other.at - hit.at <= limits::PHRASES_TOGETHER_OCTETS;
            let end = first + text[first..].iter().take_while(|other| near(other)).count();
            if end <= last {
                continue; // stands wholly inside the one before
            }
            last = end;
            let window = Together::of(recipe, subject.iter().chain(&text[first..end]).copied().collect());
            if window.points > best.points {
                best = window;
            }
        }
        best
    }

    /// What overlaps says one thing, and so does what is said again.
    fn of(recipe: &Recipe, hits: Vec<&'a Hit>) -> Together<'a> {
        let mut counted: Vec<(u32, usize)> = vec![(0, 0); recipe.signals.len()];
        let mut kept: Vec<&Hit> = Vec::new();
        let mut in_subject = true;
        for hit in hits {
            if in_subject && !hit.in_subject {
                in_subject = false;
                counted.iter_mut().for_each(|(_, end)| *end = 0);
            }
            let Some(n) = recipe.signals.iter().position(|(signal, ..)| *signal == hit.signal) else { continue };
            let (count, end) = &mut counted[n];
            if hit.from + 1 >= *end && !kept.iter().any(|k| k.signal == hit.signal && k.phrase == hit.phrase) {
                *count += 1;
                *end = hit.at;
                kept.push(hit);
            }
        }
        let points = counted.iter().zip(recipe.signals).map(|((count, _), (_, first, further))| match count {
            0 => 0,
            n => first + further * (n - 1).min(FURTHER_MAX),
        });
        Together { points: points.sum(), places: places(&kept), hits: kept }
    }

    fn signals(&self) -> usize {
        let mut all: Vec<Signal> = self.hits.iter().map(|hit| hit.signal).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }
}

/// What different detectors hear in the same words is one place.
fn places(hits: &[&Hit]) -> usize {
    let mut places: Vec<(bool, usize, usize)> = hits.iter().map(|hit| (!hit.in_subject, hit.from, hit.at)).collect();
    places.sort_unstable();
    let (mut count, mut last) = (0, (true, 0));
    for (n, (in_text, from, at)) in places.into_iter().enumerate() {
        if n == 0 || in_text != last.0 || from + 1 >= last.1 {
            count += 1;
            last = (in_text, at);
        }
    }
    count
}
