//! What a person sees who clicked: plain HTML, no script, nothing from elsewhere, legible in light and dark and when read
//! aloud. A destination is shown as text, never as a link.

use super::click::Judged;
use super::limits;
use crate::web::page;
use axum::http::StatusCode;
use axum::response::Response;
use mail::escape;
use verdict::content::urls::reached;

/// A link that nobody of us signed, or that somebody altered.
pub(crate) fn not_ours() -> Response {
    let body = "<h1>This link leads nowhere</h1>\
        <p>It was not made here, or it was changed or cut on its way. It has not been opened.</p>\
        <p>Go back to the message and click the link there, or ask whoever sent it.</p>";
    page(StatusCode::NOT_FOUND, "This link leads nowhere", body)
}

pub(crate) fn unavailable() -> Response {
    let body = "<h1>This link cannot be checked now</h1><p>It has not been opened. Please try again in a minute.</p>";
    page(StatusCode::SERVICE_UNAVAILABLE, "This link cannot be checked now", body)
}

pub(crate) fn expired(written: Option<&str>) -> Response {
    let body = format!(
        "<h1>This link is too old to be checked</h1>\
         <p>The message came long ago, and its links are no longer followed from here. It led to:</p>{}\
         <p>If you know the site and expect something there, type its address yourself.</p>",
        written.map_or_else(|| "<p>an address that is not known any more</p>".to_owned(), destination)
    );
    page(StatusCode::GONE, "This link is too old to be checked", &body)
}

pub(crate) fn blocked(written: &str, judged: &Judged) -> Response {
    let body = format!(
        "<h1>This link was blocked</h1>\
         <p>The site that it leads to is dangerous, or your organization does not want it opened. It has not been opened.</p>{}{}\
         <p>If you think that this is a mistake, tell your administrator; you need do nothing else.</p>",
        destination(written),
        reasons(judged)
    );
    page(StatusCode::FORBIDDEN, "This link was blocked", &body)
}

pub(crate) fn warning(written: &str, judged: &Judged) -> Response {
    let body = format!(
        "<h1>Look twice before you go on</h1>\
         <p>This link may not be what it seems. It has not been opened. It leads to:</p>{}{}\
         <form method=\"post\" action=\"?go\"><button type=\"submit\">Go on to the site</button></form>\
         <p>Never type a password there unless you are sure whose site it is.</p>",
        destination(written),
        reasons(judged)
    );
    page(StatusCode::OK, "Look twice before you go on", &body)
}

fn reasons(judged: &Judged) -> String {
    let all: String = judged.reasons.iter().map(|why| format!("<li>{}</li>", escape(&plain(why)))).collect();
    if all.is_empty() { String::new() } else { format!("<h2>Why</h2><ul>{all}</ul>") }
}

/// The host by itself, since that is what tells whose it is, and the whole address.
fn destination(written: &str) -> String {
    let (host, whole) = match reached(written) {
        Some((url, _)) => (url.host_str().unwrap_or_default().to_owned(), url.as_str().to_owned()),
        None => (String::new(), written.to_owned()),
    };
    let whole: String = whole.chars().take(limits::SHOWN_URL_CHARS_MAX).collect();
    format!("<p class=\"host\">{}</p><p class=\"url\">{}</p>", escape(&plain(&host)), escape(&plain(&whole)))
}

/// Without what turns text round or hides it.
fn plain(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect()
}
