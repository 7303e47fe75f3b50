//! What is never edited: content whose proof or whose meaning an edit would destroy. docs/edits.md shows this table.

/// One kind of message that no edit touches.
#[derive(Debug, PartialEq, Eq)]
pub struct Never {
    pub what: &'static str,
    /// Content types of any part of the message itself; one that ends in `*` means all that begin so.
    pub types: &'static [&'static str],
    /// Endings of attachment names, for senders that call everything application/octet-stream.
    pub names: &'static [&'static str],
    pub why: &'static str,
}

/// In the order in which they are looked for.
pub const NEVER: &[Never] = &[
    Never {
        what: "signed (S/MIME, PGP/MIME)",
        types: &["multipart/signed", "application/pkcs7-signature", "application/x-pkcs7-signature"],
        names: &[".p7s"],
        why: "the signature would fail",
    },
    Never {
        what: "S/MIME, encrypted or opaque",
        types: &["application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs10", "application/x-pkcs10"],
        names: &[".p7m", ".p7c", ".p7z"],
        why: "nobody but the recipient can read what would be edited",
    },
    Never {
        what: "encrypted (PGP/MIME)",
        types: &["multipart/encrypted", "application/pgp-*"],
        names: &[],
        why: "nobody but the recipient can read what would be edited",
    },
    Never {
        what: "Microsoft's protected messages (OME, rpmsg)",
        types: &["application/x-microsoft-rpmsg-message"],
        names: &[".rpmsg"],
        why: "the text that is shown is a cover; the message is sealed in the attachment",
    },
    Never {
        what: "TNEF",
        types: &["application/ms-tnef", "application/vnd.ms-tnef"],
        names: &["winmail.dat"],
        why: "Outlook shows the body in the TNEF part, and the two would differ",
    },
    Never {
        what: "calendar",
        types: &["text/calendar", "application/ics"],
        names: &[".ics"],
        why: "calendars match invitations and answers by machine",
    },
    Never {
        what: "reports (DSN, MDN, ARF)",
        types: &[
            "multipart/report",
            "message/delivery-status",
            "message/global-delivery-status",
            "message/disposition-notification",
            "message/global-disposition-notification",
            "message/feedback-report",
            "message/tracking-status",
        ],
        names: &[],
        why: "machines read them, and they quote evidence",
    },
    Never {
        what: "pieces of a message",
        types: &["message/partial", "message/external-body"],
        names: &[],
        why: "the message is put together elsewhere",
    },
    INLINE_PGP,
    NULL_SENDER,
];

/// Seen in the decoded text.
pub(crate) const INLINE_PGP: Never = Never {
    what: "PGP in the text (-----BEGIN PGP)",
    types: &[],
    names: &[],
    why: "the signature would fail, or the text beside it would be taken for part of it",
};

/// Seen in the envelope.
pub const NULL_SENDER: Never = Never {
    what: "the null sender (MAIL FROM:<>)",
    types: &[],
    names: &[],
    why: "only reports and automatic answers have it, and machines read them",
};

pub(crate) fn inline_pgp() -> &'static Never {
    &NEVER[NEVER.len() - 2]
}

/// By a part's type and its attachment name.
pub(crate) fn of_part(content_type: &str, name: Option<&str>) -> Option<&'static Never> {
    let name = name.unwrap_or_default().to_lowercase();
    let is = |known: &&str| match known.strip_suffix('*') {
        Some(beginning) => content_type.starts_with(beginning),
        None => content_type == *known,
    };
    NEVER.iter().find(|never| never.types.iter().any(is) || never.names.iter().any(|n| name.ends_with(n)))
}

/// True of a text in which a line opens a PGP block.
pub(crate) fn has_inline_pgp(text: &[u8]) -> bool {
    let marker = b"-----BEGIN PGP ";
    text.windows(marker.len()).any(|w| w == marker)
}
