//! The phrases themselves and the one automaton that finds them.
//!
//! A file has lines of these kinds:
//! `# remark`; `@name = one|two`, a set for the lines below; `[signal]`, what the phrases below are a sign of; and
//! phrases: words as a person writes them, `(a|b|)` for alternatives, `@name` for a set, a trailing `*` for any ending,
//! ` ~ ` for up to a few words in between. A line that is one `(…|…)` as a whole is a phrase for each alternative.

use super::{Hit, words};
use crate::limits;
use daachorse::DoubleArrayAhoCorasick;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// What a phrase is a sign of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    Threat,
    SignInAlert,
    MailHeld,
    PaymentFailed,
    Expired,
    Document,
    Credential,
    Deadline,
    Click,
    Impersonal,
    Alarm,
    ParcelHeld,
    ParcelFee,
    ParcelAsk,
    Fine,
    Won,
    Prize,
    PrizeClaim,
    Scarcity,
    Points,
    Casino,
    CasinoBonus,
    Dating,
    Adult,
    Miracle,
    Ailment,
    Lead,
    Discount,
    Advertisement,
    Fortune,
    FortuneStory,
    FortuneAsk,
    Loan,
    Job,
    Spying,
    Ransom,
    Exposure,
    Crypto,
    CryptoGift,
    WalletThreat,
    WalletAsk,
    Charge,
    CallUs,
    Renewal,
    BankChange,
    Payroll,
    GiftCards,
    Errand,
    Secrecy,
    Urgency,
}

/// Each signal by the name that stands in the files.
const NAMES: &[(&str, Signal)] = &[
    ("threat", Signal::Threat),
    ("sign-in alert", Signal::SignInAlert),
    ("mail held", Signal::MailHeld),
    ("payment failed", Signal::PaymentFailed),
    ("expired", Signal::Expired),
    ("document", Signal::Document),
    ("credential", Signal::Credential),
    ("deadline", Signal::Deadline),
    ("click", Signal::Click),
    ("impersonal", Signal::Impersonal),
    ("alarm", Signal::Alarm),
    ("parcel held", Signal::ParcelHeld),
    ("parcel fee", Signal::ParcelFee),
    ("parcel ask", Signal::ParcelAsk),
    ("fine", Signal::Fine),
    ("won", Signal::Won),
    ("prize", Signal::Prize),
    ("prize claim", Signal::PrizeClaim),
    ("scarcity", Signal::Scarcity),
    ("points", Signal::Points),
    ("casino", Signal::Casino),
    ("casino bonus", Signal::CasinoBonus),
    ("dating", Signal::Dating),
    ("adult", Signal::Adult),
    ("miracle", Signal::Miracle),
    ("ailment", Signal::Ailment),
    ("lead", Signal::Lead),
    ("discount", Signal::Discount),
    ("advertisement", Signal::Advertisement),
    ("fortune", Signal::Fortune),
    ("fortune story", Signal::FortuneStory),
    ("fortune ask", Signal::FortuneAsk),
    ("loan", Signal::Loan),
    ("job", Signal::Job),
    ("spying", Signal::Spying),
    ("ransom", Signal::Ransom),
    ("exposure", Signal::Exposure),
    ("crypto", Signal::Crypto),
    ("crypto gift", Signal::CryptoGift),
    ("wallet threat", Signal::WalletThreat),
    ("wallet ask", Signal::WalletAsk),
    ("charge", Signal::Charge),
    ("call us", Signal::CallUs),
    ("renewal", Signal::Renewal),
    ("bank change", Signal::BankChange),
    ("payroll", Signal::Payroll),
    ("gift cards", Signal::GiftCards),
    ("errand", Signal::Errand),
    ("secrecy", Signal::Secrecy),
    ("urgency", Signal::Urgency),
];

impl Signal {
    /// In words, for people.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, signal)| *signal == self).map_or("", |(name, _)| name)
    }
}

const FILES: &[(&str, &str)] = &[
    ("account.txt", include_str!("phrases/account.txt")),
    ("parcel.txt", include_str!("phrases/parcel.txt")),
    ("prize.txt", include_str!("phrases/prize.txt")),
    ("spam.txt", include_str!("phrases/spam.txt")),
    ("fraud.txt", include_str!("phrases/fraud.txt")),
];

/// Pieces of which a phrase may consist: what stands between gaps, and of that what has many alternatives.
const PIECES_MAX: usize = 6;
/// A piece with more spellings is divided: three sets in a row would multiply.
const SPELLINGS_MAX: usize = 24;
/// Ends of a piece that are remembered: "account" and "account information" both end one.
const ENDS_MAX: usize = 2;

struct Phrases {
    automaton: DoubleArrayAhoCorasick<u32>,
    /// Of each literal, which pieces of which phrases it completes.
    uses: Vec<Vec<(usize, usize)>>,
    /// Each literal as it is written in the file.
    spelling: Vec<String>,
    phrases: Vec<Phrase>,
    slots: usize,
}

#[derive(Debug)]
struct Phrase {
    signal: Signal,
    /// Of each piece, how many octets may lie between it and the one before.
    gaps: Vec<usize>,
    /// Where its unfinished pieces are remembered, one after the other.
    slot: usize,
}

/// That the files can be read is shown by the test below; without them nothing is found.
static PHRASES: LazyLock<Option<Phrases>> = LazyLock::new(|| read(FILES).ok());

fn read(files: &[(&str, &str)]) -> Result<Phrases, String> {
    let mut all = Reading::default();
    for (name, text) in files {
        let mut signal = None;
        for (n, line) in text.lines().enumerate() {
            all.line(line.trim(), &mut signal).map_err(|why| format!("{name}:{}: {why}", n + 1))?;
        }
    }
    if all.slots > usize::from(u16::MAX) {
        return Err("more phrases of several pieces than can be told apart".into());
    }
    let mut uses = vec![Vec::new(); all.spelling.len()];
    let mut literals = vec![Vec::new(); all.spelling.len()];
    for (literal, (n, pieces)) in all.literals {
        uses[n] = pieces;
        literals[n] = literal;
    }
    let automaton = DoubleArrayAhoCorasick::new(&literals).map_err(|e| e.to_string())?;
    Ok(Phrases { automaton, uses, spelling: all.spelling, phrases: all.phrases, slots: all.slots })
}

/// Which pieces of which phrases one literal completes, under its number.
type Uses = (usize, Vec<(usize, usize)>);

#[derive(Default)]
struct Reading {
    sets: HashMap<String, String>,
    literals: BTreeMap<Vec<u8>, Uses>,
    spelling: Vec<String>,
    phrases: Vec<Phrase>,
    slots: usize,
}

impl Reading {
    fn line(&mut self, line: &str, signal: &mut Option<Signal>) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some((name, set)) = line.strip_prefix('@').and_then(|l| l.split_once(" = ")) {
            self.sets.insert(name.trim().to_owned(), set.trim().to_owned());
            return Ok(());
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            *signal = Some(known.ok_or_else(|| format!("no signal is called \"{name}\""))?.1);
            return Ok(());
        }
        let signal = signal.ok_or("a phrase before the first [signal]")?;
        for phrase in one_by_one(&self.with_sets(line)?)? {
            self.phrase(&phrase, signal)?;
        }
        Ok(())
    }

    fn phrase(&mut self, text: &str, signal: Signal) -> Result<(), String> {
        let number = self.phrases.len();
        let mut gaps = Vec::new();
        for side in text.split(" ~ ") {
            for (n, piece) in pieces(side)?.into_iter().enumerate() {
                for spelled in piece {
                    self.literal(&spelled, number, gaps.len())?;
                }
                gaps.push(if n == 0 { limits::PHRASE_GAP_OCTETS } else { 0 });
            }
        }
        if gaps.len() > PIECES_MAX {
            return Err(format!("more than {PIECES_MAX} pieces"));
        }
        let slot = self.slots;
        self.slots += gaps.len() - 1;
        self.phrases.push(Phrase { signal, gaps, slot });
        Ok(())
    }

    fn with_sets(&self, text: &str) -> Result<String, String> {
        let mut out = Vec::new();
        for word in text.split(' ') {
            out.push(match word.strip_prefix('@') {
                Some(name) => format!("({})", self.sets.get(name).ok_or_else(|| format!("no set @{name}"))?),
                None => word.to_owned(),
            });
        }
        Ok(out.join(" "))
    }

    fn literal(&mut self, spelled: &str, phrase: usize, piece: usize) -> Result<(), String> {
        let (text, open) = spelled.strip_suffix('*').map_or((spelled, false), |stem| (stem, true));
        let mut literal = words::of(text);
        if literal.trim_ascii().is_empty() {
            return Err("an empty alternative stands alone".into());
        }
        if open {
            literal.pop();
        }
        let next = self.literals.len();
        let (_, uses) = self.literals.entry(literal).or_insert_with(|| {
            self.spelling.push(for_people(text.trim()));
            (next, Vec::new())
        });
        uses.push((phrase, piece));
        Ok(())
    }
}

/// `(a ~ b|c)` as a whole line is the two phrases `a ~ b` and `c`; every other line is one phrase.
fn one_by_one(line: &str) -> Result<Vec<String>, String> {
    let Some(rest) = line.strip_prefix('(') else { return Ok(vec![line.to_owned()]) };
    let (inside, after) = group(rest)?;
    Ok(if after.is_empty() { inside.into_iter().map(str::to_owned).collect() } else { vec![line.to_owned()] })
}

/// Behind an opening bracket: its alternatives, and what follows the closing one.
fn group(text: &str) -> Result<(Vec<&str>, &str), String> {
    let (mut depth, mut from, mut inside) = (0_u32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            '|' if depth == 0 => {
                inside.push(&text[from..at]);
                from = at + 1;
            }
            ')' => {
                inside.push(&text[from..at]);
                return Ok((inside, &text[at + 1..]));
            }
            _ => {}
        }
    }
    Err("a ( without )".into())
}

/// A phrase holds for any number and any address.
fn for_people(spelled: &str) -> String {
    let mut shown = String::new();
    for c in spelled.replace("user@example.com", "@").chars() {
        if !(c.is_ascii_digit() && shown.ends_with('#')) {
            shown.push(if c.is_ascii_digit() { '#' } else { c });
        }
    }
    shown
}

/// The spellings of a side, in as few pieces as keep their number small.
fn pieces(side: &str) -> Result<Vec<Vec<String>>, String> {
    let mut pieces = Vec::new();
    let (mut text, mut spelled) = (String::new(), Vec::new());
    for token in tokens(side) {
        let joined = if text.is_empty() { token.to_owned() } else { format!("{text} {token}") };
        let together = expand(&joined)?;
        let may_be_nothing = |all: &[String]| all.iter().any(|one| one.trim().is_empty());
        if together.len() > SPELLINGS_MAX
            && !text.is_empty()
            && !may_be_nothing(&spelled)
            && !may_be_nothing(&expand(token)?)
        {
            pieces.push(std::mem::take(&mut spelled));
            spelled = expand(token)?;
            text = token.to_owned();
        } else {
            (text, spelled) = (joined, together);
        }
    }
    pieces.push(spelled);
    for one in pieces.iter_mut().flatten() {
        *one = one.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    Ok(pieces)
}

/// What spaces outside brackets divide.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let spaces = move |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ' ' && depth == 0
    };
    text.split(spaces).filter(|token| !token.is_empty())
}

/// `a (b|c) d` is `a b d` and `a c d`.
fn expand(text: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = text.split_once('(') else { return Ok(vec![text.to_owned()]) };
    let (inside, after) = group(rest)?;
    let after = expand(after)?;
    let mut all = Vec::new();
    for one in inside {
        for one in expand(one)? {
            all.extend(after.iter().map(|rest| format!("{before}{one}{rest}")));
        }
    }
    Ok(all)
}

/// A phrase as far as it was read: where it began, where its last piece ended, and the literals of its pieces.
#[derive(Clone, Copy)]
struct Begun {
    from: u32,
    end: u32,
    literals: [u32; PIECES_MAX],
}

/// The phrases of one text that were begun, few of the many that there are.
struct Unfinished {
    /// Of each slot, where in `ends` it stands, from 1 on.
    places: Vec<u16>,
    ends: Vec<[Option<Begun>; ENDS_MAX]>,
}

impl Unfinished {
    fn of(&self, slot: usize) -> impl Iterator<Item = &Begun> {
        let place = usize::from(self.places[slot]).checked_sub(1);
        place.and_then(|place| self.ends.get(place)).into_iter().flatten().flatten()
    }
    fn add(&mut self, slot: usize, begun: Begun) {
        if self.places[slot] == 0 {
            self.ends.push([None; ENDS_MAX]);
            self.places[slot] = self.ends.len() as u16;
        }
        if let Some(ends) = self.ends.get_mut(usize::from(self.places[slot]) - 1) {
            ends.rotate_right(1);
            ends[0] = Some(begun);
        }
    }
}

/// Every phrase that stands in the words, each once where it stands first, at most [`limits::PHRASES_MAX`].
pub(super) fn find(words: &[u8], in_subject: bool) -> Vec<Hit> {
    let Some(all) = PHRASES.as_ref() else { return Vec::new() };
    let mut begun = Unfinished { places: vec![0; all.slots], ends: Vec::new() };
    let mut done = vec![false; all.phrases.len()];
    let mut hits = Vec::new();
    for found in all.automaton.find_overlapping_iter(words) {
        let literal = found.value() as usize;
        for &(number, piece) in &all.uses[literal] {
            if done[number] {
                continue;
            }
            let phrase = &all.phrases[number];
            let start = found.start() as u32;
            // both literals own the space between them
            let follows =
                |before: &&Begun| start + 1 >= before.end && (start + 1 - before.end) as usize <= phrase.gaps[piece];
            let before = match piece {
                0 => Some(Begun { from: start, end: 0, literals: [0; PIECES_MAX] }),
                _ => begun.of(phrase.slot + piece - 1).find(follows).copied(),
            };
            let Some(mut now) = before else { continue };
            now.end = found.end() as u32;
            now.literals[piece] = literal as u32;
            if piece + 1 < phrase.gaps.len() {
                begun.add(phrase.slot + piece, now);
            } else if hits.len() < limits::PHRASES_MAX {
                done[number] = true;
                hits.push(all.hit(phrase, &now, in_subject));
            }
        }
    }
    hits
}

/// Reads the phrases now, so that no message has to wait for it.
pub(crate) fn prepare() {
    LazyLock::force(&PHRASES);
}

impl Phrases {
    fn hit(&self, phrase: &Phrase, read: &Begun, in_subject: bool) -> Hit {
        let mut spelled = String::new();
        for (literal, gap) in read.literals.iter().zip(&phrase.gaps) {
            if !spelled.is_empty() {
                spelled.push_str(if *gap > 0 { " … " } else { " " });
            }
            spelled.push_str(&self.spelling[*literal as usize]);
        }
        Hit { signal: phrase.signal, phrase: spelled, in_subject, from: read.from as usize, at: read.end as usize }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_files_can_be_read_and_every_signal_has_phrases() {
        let all = read(FILES).unwrap();
        for (name, signal) in NAMES {
            assert!(all.phrases.iter().any(|p| p.signal == *signal), "no phrase for [{name}]");
        }
        assert!(all.spelling.len() < limits::LITERALS_MAX, "{}", all.spelling.len());
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_line() {
        let wrong = |text| read(&[("f", text)]).err().unwrap();
        assert_eq!(wrong("phrase"), "f:1: a phrase before the first [signal]");
        assert_eq!(wrong("\n[nonsense]"), "f:2: no signal is called \"nonsense\"");
        assert_eq!(wrong("[won]\nyou @x"), "f:2: no set @x");
        assert_eq!(wrong("[won]\nyou (a|b"), "f:2: a ( without )");
    }

    #[test]
    fn phrases_are_found_across_small_gaps_only() {
        let said = |text: &str| {
            find(&words::of(text), false)
                .into_iter()
                .map(|h| format!("{}: {}", h.signal.name(), h.phrase))
                .collect::<Vec<_>>()
        };
        assert!(
            said("Your account will be temporarily suspended").contains(&"threat: your account … suspended".to_owned())
        );
        let far = "your account is fine. We write many other words here, and then say that some car has been suspended";
        assert!(!said(far).iter().any(|s| s.starts_with("threat")), "{:?}", said(far));
    }
}
