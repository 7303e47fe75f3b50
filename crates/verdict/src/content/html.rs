//! An HTML part as its reader sees it.

use html5gum::{Token, Tokenizer};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub links: Vec<Link>,
}

/// An `<a href>` with its visible text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub text: String,
    pub href: String,
}

/// Reads it as a browser does: markup dropped, entities decoded.
pub fn page(html: &str) -> Page {
    let mut links = Vec::new();
    let mut open: Option<Link> = None;
    for Ok(token) in Tokenizer::new(html) {
        match token {
            Token::StartTag(tag) if tag.name.as_slice() == b"a" => {
                links.extend(open.take());
                let href = tag.attributes.iter().find(|(name, _)| name.as_slice() == b"href");
                open = href.map(|(_, value)| Link {
                    text: String::new(),
                    href: String::from_utf8_lossy(value.as_slice()).trim().to_owned(),
                });
            }
            Token::EndTag(tag) if tag.name.as_slice() == b"a" => links.extend(open.take()),
            Token::String(text) => {
                if let Some(link) = &mut open {
                    link.text.push_str(&String::from_utf8_lossy(text.as_slice()));
                }
            }
            _ => {}
        }
    }
    links.extend(open);
    Page { links }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_a_browser_shows_them() {
        let html = "<a class=x HREF='https://a.example/?x=1&amp;y=2'>www.<b>my</b>bank&#46;com</a> <a>no href</a> <a href=//b.example>open";
        let seen = page(html).links;
        assert_eq!((seen[0].text.as_str(), seen[0].href.as_str()), ("www.mybank.com", "https://a.example/?x=1&y=2"));
        assert_eq!(seen[1].href, "//b.example");
    }
}
