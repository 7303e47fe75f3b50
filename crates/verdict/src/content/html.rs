//! An HTML part as its reader sees it: one pass of a browser's tokenizer, no tree.
//!
//! Elements are kept on a stack only as far as it decides what is shown. Where mail programs differ (conditional
//! comments that Outlook alone reads, `noscript`), what any of them shows is taken as shown.

mod build;
mod elements;
mod sink;

use super::letters::Odd;
use crate::limits;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub title: String,
    /// What is seen: a line for each block, white space collapsed, what has no width left out.
    pub text: String,
    /// What stands there and is not seen.
    pub hidden: String,
    pub odd: Odd,
    pub links: Vec<Link>,
    pub images: Vec<Image>,
    pub forms: Vec<Form>,
    /// Where `<meta http-equiv=refresh>` leads by itself.
    pub refresh: Option<String>,
    /// Of `<iframe>`, `<object>` and `<embed>`.
    pub frames: Vec<String>,
    pub has_script: bool,
    pub base: Option<String>,
    /// More stood there than is looked at.
    pub is_cut: bool,
    /// The part is an attachment: nothing of it is seen before it is opened.
    pub is_attachment: bool,
    /// Of the part: 0 in the message itself, 1 in one attached to it, …
    pub depth: usize,
}

/// An `<a href>` or `<area href>` with its visible text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Of an image that is all there is, what it says when it is not shown.
    pub text: String,
    /// As a browser takes it, resolved against the page's base.
    pub href: String,
    pub has_image: bool,
    pub is_hidden: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Cut where it is `data:`.
    pub src: String,
    pub alt: String,
    /// As written, in pixels; `None` where nothing or something else is.
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub is_link: bool,
    pub is_hidden: bool,
}

impl Image {
    /// Too small to be seen: it counts who opened the message.
    pub fn is_pixel(&self) -> bool {
        self.is_hidden || self.width.is_some_and(|w| w <= 3) || self.height.is_some_and(|h| h <= 3)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub action: String,
    pub has_password: bool,
    /// Asks for an address or another text.
    pub has_text: bool,
}

/// Reads it as a mail program does: markup dropped, entities decoded.
pub fn page(html: &str) -> Page {
    let mut cut = html.len().min(limits::HTML_OCTETS_MAX);
    while !html.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut page = build::read(&html[..cut], false);
    page.is_cut |= cut < html.len();
    if let Some(base) = page.base.as_deref().and_then(|b| url::Url::parse(b).ok()) {
        let resolve = |href: &mut String| {
            if !has_scheme(href)
                && !href.starts_with('#')
                && let Ok(url) = base.join(href)
            {
                *href = url.into();
            }
        };
        page.links.iter_mut().for_each(|l| resolve(&mut l.href));
        page.images.iter_mut().for_each(|i| resolve(&mut i.src));
        page.forms.iter_mut().for_each(|f| resolve(&mut f.action));
    }
    page
}

/// RFC 3986 §3.1.
fn has_scheme(href: &str) -> bool {
    href.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
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
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn text_is_what_is_seen() {
        for (html, text, hidden) in [
            ("<p>Dear  <b>Gr</b>ace,<br>hello&nbsp;you</p><div>bye</div>", "Dear Grace,\nhello you\nbye", ""),
            ("<style>p{}</style><script>x</script><title>t</title><p>a", "a", ""),
            ("a<div style='display:none'>salt <p>more</p></div>b", "a\nb", "salt\nmore"),
            ("<span style='font-size:0'>x<b style='font-size:14px'>y</b>z</span>", "y", "xz"),
            ("<div style='visibility:hidden'>x<i style='visibility:visible'>y</i></div>", "y", "x"),
            ("<td style='background:#fff'><font color='#fefefe'>x</font>y</td>", "y", "x"),
            ("<p style='color:white'>x</p>y", "y", "x"),
            ("<td bgcolor=black><p style='color:white'>x</p>y", "x\ny", ""),
            ("<td background=b.png><p style='color:white'>x</p>y", "x\ny", ""),
            ("<p class=a style='color:white'>x</p>y", "x\ny", ""),
            ("<p style='display:none'>x<div>y</div>", "y", "x"),
            ("<span style='display:none'>x<div>y</span>z</div>", "", "x\nyz"),
            ("<style>.k{display:none}</style>a<i class='j k'>b</i>c", "ac", "b"),
            ("<p hidden>x</p>y<input type=hidden value=v>", "y", "x"),
            ("<img style='display:none' alt=q>y<br style='display:none'>z", "y\nz", ""),
            ("a\u{200b}b<noscript>c</noscript><!-- d --><iframe>e</iframe>", "abc", ""),
            ("<table><tr><td>a<td>b<tr><td>c</table>d", "a b\nc\nd", ""),
            ("<textarea><b>x</textarea>y", "<b>xy", ""),
        ] {
            let seen = page(html);
            assert_eq!((seen.text.as_str(), seen.hidden.as_str()), (text, hidden), "{html}");
        }
    }

    #[test]
    fn what_is_not_text() {
        let seen = page(
            "<base href='https://b.example/dir/'><meta http-equiv=Refresh content='0; URL=\"x.html\"'>\
             <a href=one><img src=i.png alt='Click me' width=600 height='400px'></a><img src=cid:x width=1 height=1>\
             <form action=two><input type=PassWord><input name=q></form><iframe src=f></iframe><script>1</script>\
             <map><area href='https://c.example/'></map><a href=#top>t</a>",
        );
        assert_eq!(
            seen.links.iter().map(|l| (l.href.as_str(), l.text.as_str())).collect::<Vec<_>>(),
            [("https://b.example/dir/one", "Click me"), ("https://c.example/", ""), ("#top", "t")]
        );
        assert!(seen.links[0].has_image && seen.images[0].is_link && seen.images[1].is_pixel());
        assert_eq!((seen.images[0].width, seen.images[0].height), (Some(600), Some(400)));
        assert_eq!(
            seen.forms,
            [Form { action: "https://b.example/dir/two".into(), has_password: true, has_text: true }]
        );
        assert_eq!(
            (seen.refresh.as_deref(), seen.frames, seen.has_script),
            (Some("x.html"), vec!["f".to_owned()], true)
        );
    }

    #[test]
    fn what_outlook_alone_reads_is_read() {
        let seen = page("<!--[if mso]><a href='https://o.example/'>for Outlook</a><![endif]--><!-- <a href=no> -->x");
        assert_eq!((seen.links.len(), seen.links[0].href.as_str()), (1, "https://o.example/"));
        assert_eq!(seen.text, "x");
    }

    #[test]
    fn hostile_pages_stay_in_bounds() {
        for html in [
            "<div>".repeat(400_000),
            "<span><div>".to_owned() + &"<i>".repeat(510) + &"</span>".repeat(300_000),
            "</p>".repeat(500_000),
            "<a href=x>".repeat(300_000),
            "<!--[if mso]>".repeat(100_000),
            "<a ".to_owned() + &"x=1 ".repeat(500_000),
            "<p style='".to_owned() + &"a:b;".repeat(500_000) + "'>x",
        ] {
            let start = std::time::Instant::now();
            let seen = page(&html);
            assert!(seen.links.len() <= limits::PAGE_ITEMS_MAX);
            // without bounds it is minutes; a busy machine takes seconds
            assert!(start.elapsed().as_secs() < 60, "{} took {:?}", &html[..20], start.elapsed());
        }
    }
}
