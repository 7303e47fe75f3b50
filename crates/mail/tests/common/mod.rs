//! What must hold after every edit, seen with the parser alone.
#![allow(clippy::unwrap_used, dead_code)]

use mail_parser::{MessageParser, MessagePart, PartKind};

/// The text of each text part, line ends as LF, without what only separates.
pub fn shown_texts(raw: &[u8]) -> Vec<String> {
    let Some(parsed) = MessageParser::new().parse(raw) else { return Vec::new() };
    let texts = parsed.parts().filter_map(|p| p.text().map(|t| t.replace("\r\n", "\n")));
    texts.map(|t| t.trim_end().to_owned()).collect()
}

fn is_shown(part: &MessagePart<'_>) -> bool {
    let attached = part.content_disposition().is_some_and(|d| d.ctype().eq_ignore_ascii_case("attachment"));
    !attached && part.attachment_name().is_none()
}

/// The same parts in the same order with the same headers, and every part but text that is shown to the byte as before.
pub fn check_untouched(name: &str, before: &[u8], after: &[u8]) {
    let (Some(old), Some(new)) = (MessageParser::new().parse(before), MessageParser::new().parse(after)) else {
        assert_eq!(before, after, "{name}: what cannot be read must not change");
        return;
    };
    assert_eq!(old.parts().count(), new.parts().count(), "{name}: parts");
    for (n, (old, new)) in old.parts().zip(new.parts()).enumerate() {
        assert_eq!(old.flags(), new.flags(), "{name}: part {n} is damaged now");
        if n > 0 {
            assert_eq!(old.raw_headers(), new.raw_headers(), "{name}: header of part {n}");
        }
        match old.kind() {
            PartKind::Multipart => {}
            PartKind::Text | PartKind::Html if is_shown(&old) => {
                let (_, problems) = new.decoded_checked();
                let (_, had) = old.decoded_checked();
                assert_eq!(problems, had, "{name}: part {n} does not decode");
            }
            PartKind::Message(_) | PartKind::Text | PartKind::Html | PartKind::Binary | PartKind::InlineBinary => {
                assert_eq!(old.raw_body(), new.raw_body(), "{name}: part {n} changed");
            }
        }
    }
}
