//! An item asked for by its natural key: the request, and what its answer proves.
//!
//! Old servers ignore the parameters of such a request and answer with something else, so that
//! only an item that bears the key is taken for one.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::ID;
use crate::Failure;
use crate::client::changes::Snapshot;
use crate::client::paging::{Collection, PageError, PageRequest};
use crate::client::session::{Access, CallContext};
use crate::openapi::{Identity, Picked, Picker};

/// Enough to see that a key is not the only one, or that the server does not look at it.
const LIMIT: u64 = 2;

/// What an answer proves.
#[derive(Debug)]
pub(super) enum Proof {
    /// One item has the key: its id, if it has one, and its JSON.
    Item(Option<String>, Box<RawValue>),
    /// Several items have it.
    Several,
    /// No item has it.
    Nothing,
    /// None has it, but one whose key, which this is, differs in case or in the spaces at its end
    /// only.
    OtherCase(String),
    /// Nothing at all: the server does not look at the parameters, or there are none.
    Unfiltered,
}

/// Asks for the item of a key, by the values of its parts.
pub(super) async fn ask(
    context: &CallContext,
    access: &Access,
    endpoint: &str,
    identity: &Identity,
    (key, values): (&str, &[String]),
) -> Result<Proof, Failure> {
    if !identity.can_be_asked_for() {
        return Ok(Proof::Unfiltered);
    }
    let collection = Collection::of(context, access, endpoint, Snapshot::No).await?;
    let page = PageRequest {
        offset: 0,
        limit: LIMIT,
        count: false,
    };
    let params = identity.params(values);
    let collection = collection.with_params(&params);
    let fetched = collection.fetch(context, access, page).await;
    let answer = fetched.map_err(PageError::into_failure)?.answer;
    let folded = identity.folded(values);
    judge(identity, (key, &folded), &answer.body).map_err(|what| answer.unusable(&what))
}

/// What the body of an answer says; the error is what it is not.
fn judge(identity: &Identity, (key, folded): (&str, &str), body: &[u8]) -> Result<Proof, String> {
    let records: Vec<Box<RawValue>> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let id_of = Picker::new([ID]);
    let (mut item, mut ids) = (None, HashSet::new());
    let (mut other_case, mut has_others) = (None, false);
    for record in records {
        let json = record.get().as_bytes();
        let id = id_of
            .of_object(json)
            .map_err(|what| format!("an element is {what}"))?;
        let Ok(values) = identity.values(json) else {
            has_others = true;
            continue;
        };
        match identity.canonical(&values) {
            own if own == key => {
                let id = id.into_iter().next().flatten().and_then(text);
                ids.insert(id.clone());
                item = Some((id, record));
            }
            own if identity.folded(&values) == folded => other_case = Some(own),
            _ => has_others = true,
        }
    }
    Ok(match (item, other_case) {
        _ if has_others => Proof::Unfiltered,
        (Some(_), _) if ids.len() > 1 => Proof::Several,
        (Some((id, record)), _) => Proof::Item(id, record),
        (None, Some(own)) => Proof::OtherCase(own),
        (None, None) => Proof::Nothing,
    })
}

fn text(picked: Picked) -> Option<String> {
    match picked {
        Picked::Scalar(text) => Some(text),
        Picked::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Proof, judge};
    use crate::openapi::Identity;

    #[test]
    fn what_an_answer_proves() {
        let identity = Identity::of_paths(["a.name"]);
        let keys = (&*identity.canonical(&["x"]), &*identity.folded(&["x"]));
        let one = r#"{"id": "1", "a": {"name": "x"}}"#;
        let upper = r#"{"id": "2", "a": {"name": "X"}}"#;
        let other = r#"{"id": "3", "a": {"name": "y"}}"#;
        let again = r#"{"id": "4", "a": {"name": "x"}}"#;
        for (records, expected) in [
            (vec![], "Nothing"),
            (vec![one], "Item 1"),
            (vec![one, one], "Item 1"),
            (vec![one, upper], "Item 1"),
            (vec![one, again], "Several"),
            (vec![upper], r#"OtherCase ["X"]"#),
            (
                vec![r#"{"id": "5", "a": {"name": "x "}}"#],
                r#"OtherCase ["x "]"#,
            ),
            (vec![r#"{"id": "5", "a": {"name": " x"}}"#], "Unfiltered"),
            (vec![other], "Unfiltered"),
            (vec![one, other], "Unfiltered"),
            (vec!["{}"], "Unfiltered"),
        ] {
            let body = format!("[{}]", records.join(","));
            let proof = judge(&identity, keys, body.as_bytes()).expect("records");
            let told = match proof {
                Proof::Item(id, _) => format!("Item {}", id.expect("an id")),
                Proof::OtherCase(own) => format!("OtherCase {own}"),
                other => format!("{other:?}"),
            };
            assert_eq!(told, expected, "{body}");
        }
        for wrong in ["{}", "[null]", "[1", ""] {
            assert!(
                judge(&identity, keys, wrong.as_bytes()).is_err(),
                "{wrong:?}"
            );
        }
    }
}
