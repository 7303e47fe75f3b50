//! Passwords that a message names in its own text for the archive that it carries.

use super::markup::text_of;
use crate::limits::PASSWORDS_MAX;
use html5gum::{Token, Tokenizer};
use mail::{Kind, Part};
use regex::Regex;
use std::sync::LazyLock;

/// "Password: 1234", "das Passwort lautet 1234", "pass - 1234", …
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let word = r"(?i)\b(?:pass ?word|pass ?code|pass|pwd|pin|passwort|kennwort|mot de passe|contraseña|clave|senha|parola|wachtwoord|hasło|пароль|密码|密碼|パスワード)";
    let between = r#"(?: (?:for|to|of) (?:the )?(?:file|archive|document|attachment|zip|open\w*)[^\S\n]{0,3})?[^\S\n]{0,3}(?:is|ist|lautet|est|es|é|är|:|=|-|–|：)[^\S\n]{0,3}(?:is |:)?["'“„«*]{0,2}"#;
    Regex::new(&format!(r"{word}{between}([^\s<>]{{3,40}})")).ok()
});

/// Text that is looked through; a password stands near the beginning.
const TEXT_OCTETS_MAX: usize = 200 << 10;

pub(super) fn candidates(parts: &[Part<'_>]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in parts.iter().filter(|p| matches!(p.kind, Kind::Text | Kind::Html) && !p.is_attachment) {
        let text = part.text.as_deref().map(str::to_owned).unwrap_or_else(|| text_of(&part.decoded));
        let text = if part.kind == Kind::Html { without_markup(&text) } else { text };
        let text: String = text.chars().take(TEXT_OCTETS_MAX).collect();
        for word in NAMED.iter().flat_map(|named| named.captures_iter(&text)).filter_map(|c| c.get(1)) {
            let word = word.as_str();
            let plain = word.trim_end_matches(['.', ',', ';', ')', '"', '\'', '”', '“', '»', '*']);
            for candidate in [plain, word] {
                if candidate.len() >= 3 && !found.iter().any(|f| f == candidate) && found.len() < PASSWORDS_MAX {
                    found.push(candidate.to_owned());
                }
            }
        }
    }
    found
}

/// Elements within a line leave no blank: `Password: <b>12</b>34`.
fn without_markup(html: &str) -> String {
    let mut text = String::new();
    for Ok(token) in Tokenizer::new(html) {
        match token {
            Token::StartTag(tag) if matches!(tag.name.as_slice(), b"p" | b"br" | b"div" | b"td" | b"li") => {
                text.push('\n')
            }
            Token::String(words) => text.push_str(&String::from_utf8_lossy(&words)),
            _ => {}
        }
    }
    text
}
