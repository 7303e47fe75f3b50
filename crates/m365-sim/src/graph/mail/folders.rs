//! Mail folders: list, make, rename, remove.

use super::{At, gone, show, unknown};
use crate::graph::{Answer, Answered, Refusal};
use crate::mailbox::FolderId;
use crate::mailbox::folders::{self, PURGES, ROOT};

pub fn route(at: &At<'_>, rest: &[&str]) -> Answered {
    let now = at.now();
    let purges_hidden = at.purges() == "hidden";
    let find = |m: &crate::mailbox::Mailbox, key: &str| {
        let id = at.folder(m, key)?;
        if id == PURGES && purges_hidden { Err(gone()) } else { Ok(id) }
    };
    match (at.request.method.as_str(), rest) {
        ("GET", []) => children(at, None),
        ("GET", [key, "childFolders"]) => children(at, Some(key)),
        ("GET", [key]) => at.read(|m, _| {
            let folder = m.folder(find(m, key)?).ok_or_else(gone)?;
            Ok(Answer::Json(200, show::folder(m, &folder)))
        }),
        ("POST", []) => make(at, None),
        ("POST", [key, "childFolders"]) => make(at, Some(key)),
        ("PATCH", [key]) => {
            let name = at.request.text("displayName")?;
            at.on(|m| {
                let id = at.folder(m, key)?;
                let parent = m.folder(id).ok_or_else(gone)?.parent;
                if m.folder_called(&name, parent).is_some_and(|f| f.id != id) {
                    return Err(exists(&name));
                }
                let folder = m.rename_folder(id, &name).ok_or_else(distinguished)?;
                Ok(Answer::Json(200, show::folder(m, &folder)))
            })
        }
        ("DELETE", [key]) => at.on(|m| {
            let id = at.folder(m, key)?;
            if m.remove_folder(id, now) { Ok(Answer::Empty) } else { Err(distinguished()) }
        }),
        _ => Err(unknown(&[&["mailFolders"], rest].concat())),
    }
}

fn distinguished() -> Refusal {
    Refusal::new(400, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted or renamed.")
}

fn exists(name: &str) -> Refusal {
    Refusal::new(
        409,
        "ErrorFolderExists",
        format!("A folder with the specified name already exists., Could not create folder '{name}'."),
    )
}

/// Hidden ones only when asked for (wire.md 5).
fn children(at: &At<'_>, key: Option<&str>) -> Answered {
    let all = at.request.query.get("includeHiddenFolders").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let purges_hidden = at.purges() == "hidden";
    at.read(|m, _| {
        let parent: FolderId = key.map_or(Ok(ROOT), |k| at.folder(m, k))?;
        let inside = m.folders().filter(|f| f.parent == parent && f.id != parent);
        // whoever asks for Recoverable Items wants to see them, hidden as they are
        let seen = inside.filter(|f| all || !f.hidden || folders::is_recoverable(parent));
        let rows = seen.filter(|f| f.id != PURGES || !purges_hidden).map(|f| show::folder(m, &f));
        Ok(Answer::List("users/mailFolders", rows.collect()))
    })
}

fn make(at: &At<'_>, key: Option<&str>) -> Answered {
    let name = at.request.text("displayName")?;
    if name.trim().is_empty() {
        return Err(Refusal::new(
            400,
            "ErrorFolderSave",
            "The folder save operation failed due to invalid property values.",
        ));
    }
    let hidden = at.request.body["isHidden"].as_bool().unwrap_or(false);
    at.on(|m| {
        let parent = key.map_or(Ok(ROOT), |k| at.folder(m, k))?;
        let folder = m.new_folder(&name, parent, hidden).ok_or_else(|| exists(&name))?;
        Ok(Answer::Json(201, show::folder(m, &folder)))
    })
}
